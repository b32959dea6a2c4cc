# Completion of chubby(1) for fish. What may follow the tool itself knows: chubby .complete.

function __chubby_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer ($words[1] .complete $words[2..] 2>/dev/null)
    if string match -q '.command *' -- $answer[1]
        # The words from that number on, counted behind the tool, are a command of their own.
        set -l from (math 1 + (string replace '.command ' '' -- $answer[1]))
        complete -C (string join ' ' -- (string escape -- $words[$from..-2]) $words[-1])
        return
    end
    printf '%s\n' $answer
end

complete -c chubby -f -a '(__chubby_complete)'
