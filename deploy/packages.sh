# Debian packages, and how to get them; for test/run and deploy/quickstart, which source it.
# shellcheck shell=bash

# shellcheck disable=SC2034 # the lists are for those who source this
PACKAGES_BUILD=(
	build-essential meson ninja-build pkgconf
	libgrpc-dev nanopb libnanopb-dev protobuf-compiler
	libsqlite3-dev libxxhash-dev libsodium-dev uthash-dev libjansson-dev libinih-dev
	libbsd-dev libmicrohttpd-dev
)
# shellcheck disable=SC2034
PACKAGES_TEST=(
	libcmocka-dev python3-grpcio python3-protobuf protobuf-compiler-grpc
	clang-format clang-tidy jq iproute2 iptables zsh fish mandoc abigail-tools
)
# What test/fuzz/run needs beside: clang with libFuzzer and the sanitizers.
# shellcheck disable=SC2034
PACKAGES_FUZZ=(clang libclang-rt-14-dev)

packages_is_debian()
{
	command -v dpkg-query >/dev/null && command -v apt-get >/dev/null
}

# Prints those of the named packages that are not installed, one a line.
packages_missing()
{
	local installed package

	installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' 2>/dev/null |
		sed -n 's/ installed$//p')
	for package in "$@"; do
		grep -qxF -- "$package" <<<"$installed" || printf '%s\n' "$package"
	done
}

# Installs what is missing of the named packages. Asks nothing; without the right to install, says
# what an administrator should run, and fails.
packages_ensure()
{
	local missing as_root=()

	if ! packages_is_debian; then
		printf 'This is no Debian, so nothing is installed. Needed, by Debian names:\n' >&2
		printf '  %s\n' "$*" >&2
		return 0
	fi
	mapfile -t missing < <(packages_missing "$@")
	if [ ${#missing[@]} -eq 0 ]; then
		return 0
	fi
	if [ "$(id -u)" -ne 0 ]; then
		if ! sudo -n true 2>/dev/null; then
			printf 'Packages are missing, and neither root nor sudo is at hand.\n' >&2
			printf 'As root:\n  apt-get update\n  apt-get install -y %s\n' \
				"${missing[*]}" >&2
			return 1
		fi
		as_root=(sudo -n)
	fi
	printf 'Installing: %s\n' "${missing[*]}"
	local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
	"${apt[@]}" update </dev/null || return 1
	"${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null
}
