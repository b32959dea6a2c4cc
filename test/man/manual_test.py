"""The manual pages and documents: well formed, complete, and true to the header, the daemon's
settings and the programs that they quote.

usage: manual_test.py

Exit status: 0, 1, or 77 if mandoc is not installed; then only the rest was looked at.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
EXAMPLES = os.path.join(ROOT, "libchubby", "examples")
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "RETURN VALUES", "EXAMPLES", "ERRORS", "SEE ALSO"]
# Pages of the system, which need not be installed where this runs.
ELSEWHERE = {("fork", "2"), ("execve", "2"), ("flock", "1"), ("systemd.service", "5")}
# What only holds once all pages are installed (the references are looked at here), and what is a
# matter of taste: how long a line of the source is, and the two dashes of an option.
NOT_HERE = re.compile(r"referenced manual not found|outdated mandoc\.db"
                      r"|input text line longer than 80 bytes|verbatim \"--\"")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def pages():
    return sorted(glob.glob(os.path.join(ROOT, "*", "*.[18]"))
                  + glob.glob(os.path.join(ROOT, "libchubby", "man", "*.3")))


def words(text):
    return " ".join(text.split())


def installed_names():
    """{page: further names} of section 3."""
    text = read("libchubby/man/meson.build")
    return {page: re.findall(r"'(\w+)'", names)
            for page, names in re.findall(r"'(\w+)': \[(.*?)\]", text, re.S)}


# ---- what is looked at: each yields what is wrong ------------------------------------------------

def lint():
    for page in pages():
        r = subprocess.run(["mandoc", "-Tlint", "-Wstyle", page], capture_output=True, text=True,
                           check=False)
        for line in (r.stdout + r.stderr).splitlines():
            if not NOT_HERE.search(line):
                yield line


def references():
    names = installed_names()
    there = {(n, "3") for page, more in names.items() for n in [page, *more]}
    there |= {tuple(os.path.basename(p).rsplit(".", 1)) for p in pages()} | ELSEWHERE
    for page in pages():
        for name, section in re.findall(r"(?m)^\.Xr (\S+) (\d)", read(page)):
            if (name, section) not in there:
                yield f"{page}: there is no {name}({section})"
    written = {os.path.basename(p)[:-2] for p in pages() if p.endswith(".3")}
    if written != set(names):
        yield f"meson.build installs {sorted(names)}, and there are {sorted(written)}"


def sections():
    for page in pages():
        found = re.findall(r"(?m)^\.Sh (.*)$", read(page))
        wanted = SECTIONS if page.endswith(".3") else ["EXAMPLES", "EXIT STATUS", "SEE ALSO"]
        for section in wanted:
            if section not in found:
                yield f"{page}: has no section {section}"


def names_match():
    """Each page says by which names it is found, and is installed under these."""
    for page, more in installed_names().items():
        text = read(f"libchubby/man/{page}.3")
        said = re.findall(r"(?m)^\.Nm (\w+)", text.split(".Sh NAME", 1)[1].split(".Sh", 1)[0])
        if said != [page, *more]:
            yield f"{page}.3: its names are {said}, meson.build has {[page, *more]}"


def header_functions():
    """{name: prototype} of chubby.h, in one line each."""
    text = re.sub(r"/\*.*?\*/|^#.*?$", "", read("libchubby/chubby.h"), flags=re.S | re.M)
    found = {}
    for head, name, arguments in re.findall(
            r"(?:CHUBBY_API|CHUBBY_START)\s+([^;()]*?)\b(chubby_\w+)\s*\(([^;]*?)\);", text):
        kind = words(head) or "enum chubby_code"
        found[name] = f"{kind} {name}({words(arguments)})".replace("* ", "*")
    return found


def exports():
    """What the header declares is what the library exports."""
    exported = set(re.findall(r"(?m)^\t(chubby_\w+);$", read("libchubby/libchubby.map")))
    for name in sorted(exported ^ set(header_functions())):
        yield f"{name} is {'exported and not declared' if name in exported else 'not exported'}"


def page_functions(text):
    found = {}
    synopsis = text.split(".Sh SYNOPSIS", 1)[1].split(".Sh", 1)[0]
    for kind, rest in re.findall(r"(?m)^\.Ft (.*)\n((?:\.Fn .*|\.Fo (?:.*\n)+?\.Fc))", synopsis):
        name = re.match(r"\.F[no] (\w+)", rest)[1]
        if rest.startswith(".Fn"):
            arguments = [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', rest)][2:]
        else:
            arguments = re.findall(r'(?m)^\.Fa "?([^"\n]*)"?$', rest)
        found[name] = f"{kind.strip(chr(34))} {name}({', '.join(arguments)})".replace("* ", "*")
    return found


def prototypes():
    """What the pages declare is what the header declares, all of it, once."""
    declared = header_functions()
    if len(declared) < 50:
        yield f"only {len(declared)} functions were found in chubby.h"
    described = {}
    for page in installed_names():
        for name, prototype in page_functions(read(f"libchubby/man/{page}.3")).items():
            if name in described:
                yield f"{page}.3: {name} is described twice"
            described[name] = prototype
    for name in sorted(set(declared) | set(described)):
        if declared.get(name) != described.get(name):
            yield f"{name}: header {declared.get(name)!r}, page {described.get(name)!r}"


def codes():
    text = read("libchubby/man/chubby_error.3")
    enum = re.search(r"enum chubby_code \{(.*?)\};", read("libchubby/chubby.h"), re.S)[1]
    for code in re.findall(r"\bCHUBBY_\w+", enum):
        if code != "CHUBBY_OK" and f".It Bq Er {code}\n" not in text:
            yield f"chubby_error.3: says nothing of {code}"


def settings():
    """Every option and setting of the daemon stands in its page, and no other."""
    source = "".join(read(f"daemon/{name}.c") for name in ("config", "main", "init", "dev"))
    there = set(re.findall(r'\{"([a-z-]+)", (?:required_argument|&|NULL)', source))
    there |= {"log-level", "version"} | set(re.findall(r'\{"([a-z-]+)", no_argument', source))
    told = set(re.findall(r"\bFl -([a-z-]+)", read("daemon/chubbyd.8")))
    if len(there) < 12 or there != told:
        yield f"chubbyd.8: without {sorted(there - told)}; there is no {sorted(told - there)}"


def quotations():
    """What a page of the library shows as a program stands in an example that the tests run."""
    for page in installed_names():
        text = read(f"libchubby/man/{page}.3")
        shown = text.split(".Sh EXAMPLES", 1)[1].split(".Sh", 1)[0]
        quoted = re.findall(r'(?m)^\.\\" From (\S+)\n\.Bd.*\n((?:.*\n)*?)\.Ed$', shown)
        if not quoted or len(quoted) != len(re.findall(r"(?m)^\.Bd", shown)):
            yield f"{page}.3: an example that does not say where it is from"
        for file, block in quoted:
            program = words(read(os.path.join("libchubby", "examples", file)))
            if words(block.replace("\\&", "").replace("\\e", "\\")) not in program:
                yield f"{page}.3: what it shows is not in libchubby/examples/{file}"


def links():
    """What the documents point to in the tree is there."""
    for path in sorted(glob.glob(os.path.join(ROOT, "*.md"))
                       + glob.glob(os.path.join(ROOT, "docs", "*.md"))):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(path)):
            if "://" not in target and not os.path.exists(
                    os.path.join(os.path.dirname(path), target)):
                yield f"{path}: there is no {target}"


def main():
    tests = [references, sections, names_match, exports, prototypes, codes, settings,
             quotations, links]
    if shutil.which("mandoc"):
        tests.append(lint)
    else:
        print("mandoc is not installed: the form of the pages was not looked at")
    failed = 0
    for test in tests:
        wrong = list(test())
        print(f"{'FAIL' if wrong else 'ok  '} {test.__name__}")
        for line in wrong:
            print(f"     {line}")
        failed += len(wrong)
    return 1 if failed else 0 if lint in tests else 77


if __name__ == "__main__":
    sys.exit(main())
