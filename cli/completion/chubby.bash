# Completion of chubby(1) for bash. What may follow the tool itself knows: chubby .complete.

_chubby()
{
	local rest=${COMP_LINE:0:COMP_POINT} words=() piece current candidate answer line i
	local tool=${COMP_WORDS[0]/#\~/$HOME}

	# Bash splits at ":" and "=" as well: what touches in the line is one word.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		piece=${COMP_WORDS[i]}
		if [[ $rest == [[:blank:]]* || i -eq 0 ]]; then
			words+=('')
			rest=${rest#"${rest%%[![:blank:]]*}"}
		fi
		((i == COMP_CWORD)) && piece=$rest
		rest=${rest#"$piece"}
		words[-1]+=${piece//\\/}
	done
	current=${words[-1]}
	# A break just before the cursor is a word of its own that is not replaced.
	[[ $piece == [:=]* ]] && piece=
	COMPREPLY=()
	mapfile -t answer < <("$tool" .complete "${words[@]:1}" 2>/dev/null)
	if [[ ${answer[0]} == .command\ * ]]; then
		_chubby_command "${answer[0]#.command }" "$current"
		return
	fi
	for line in "${answer[@]}"; do
		candidate=${line%%$'\t'*}
		[[ $candidate == */ ]] && compopt -o nospace 2>/dev/null
		# Only what comes behind the last break replaces bash's own last word.
		candidate=${candidate#"${current%"${piece//\\/}"}"}
		printf -v candidate %q "$candidate"
		COMPREPLY+=("$candidate")
	done
}

# The words from number $1 on, counted behind `chubby`, are a command of their own.
_chubby_command()
{
	if declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif ((${#words[@]} - 1 == $1)); then
		mapfile -t COMPREPLY < <(compgen -c -- "$2")
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$2")
	fi
}

complete -F _chubby chubby
