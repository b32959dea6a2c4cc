#!/bin/sh
#
# A nightly job. Several machines start it, for safety's sake, and one at a time does it:
#
#   chubby lock /ls/local/nightly -- libchubby/examples/nightly.sh results.db
#
# The lock alone does not make that safe. A machine that is suspended in the middle of the job
# loses the lock to another one, wakes up, and writes on before it hears of it. So every write
# brings the fencing token of `chubby lock`, and the table (fenced_table.c) refuses the smaller one.
#
# The table guards row by row. So the first thing a job does is to claim every row that it will
# write: from then on whoever held the lock before is refused there.
#
# Prints what was written, a line a row. Ends with 0 when the job is done, and with 3 when a write
# was refused: another one does the job now, and there is nothing to clean up.
#
# FENCED_WRITE is the program that writes (fenced_write, from PATH or from build/, where
# deploy/quickstart and `ninja -C build` make it), PARTS how much there is to do (20).

set -u

table=${1:?usage: chubby lock PATH -- nightly.sh FILE}
token=${CHUBBY_FENCING_TOKEN:?start it with: chubby lock PATH -- nightly.sh FILE}
parts=${PARTS:-20}
built=$(dirname "$0")/../../build/libchubby/examples/fenced_write
if [ -z "${FENCED_WRITE:-}" ] && ! command -v fenced_write >/dev/null && [ -x "$built" ]; then
	FENCED_WRITE=$built
fi
write=${FENCED_WRITE:-fenced_write}
if ! command -v "$write" >/dev/null; then
	echo "nightly.sh: there is no $write: run deploy/quickstart, or ninja -C build" >&2
	exit 69
fi

store() # ROW WHAT
{
	"$write" "$table" "$1" "$2 by $token" || exit
	echo "$token $1 $2"
}

# What takes its time in the middle of the night.
compute() # PART
{
	sleep 0.01
	echo "$1" | sha256sum | cut -c 1-16
}

part=1
while [ "$part" -le "$parts" ]; do
	store "part-$part" claimed
	part=$((part + 1))
done
part=1
while [ "$part" -le "$parts" ]; do
	result=$(compute "$part")
	store "part-$part" "$result"
	part=$((part + 1))
done
