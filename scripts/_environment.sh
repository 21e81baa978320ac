# shellcheck shell=sh
# Part of run, test and check, which set $root: `prepare serve` or `prepare test` sees to it that
# .venv is complete and current. Only standard error is written to.
#
# A mark in .venv says what it was made from. It goes before the first change and comes back after
# the last one, so an interrupted installation is never taken for a good one.

venv=$root/.venv
made_from="$(cat "$root/pyproject.toml" "$root/scripts/constraints.txt" | cksum) $root"

prepare() {
    current "$1" && return
    python=$(find_python)
    {
        # The lock belongs to descriptor 9, which this shell keeps open (on the directory itself,
        # so that no lock file is left); it is released however the installation ends.
        "$python" -I -c "$lock"
        current "$1" || install "$1"   # another one may have done it while this one waited
    } 9<"$root"
}

current() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$venv/made-for-$1" 2>/dev/null)" = "$made_from" ]
}

lock='
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("muster: waiting for an installation that is under way ...", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
'

install() {
    if updatable; then
        rm -f "$venv/made-for-serve" "$venv/made-for-test"
    else
        say "making .venv (once) ..."
        "$python" -I -m venv --clear "$venv" >&2 || fail "cannot make $venv, see above"
    fi

    say "installing what it takes to $1 ..."
    extra=
    if [ "$1" = test ]; then extra='[test]'; fi
    # setuptools first and no build isolation: also what builds comes from the constraints, and a
    # change of pyproject.toml alone needs no network.
    (
        cd "$root" &&
            pip setuptools &&
            pip --no-build-isolation --use-pep517 --editable ".$extra" &&
            rm -rf muster.egg-info   # a by-product; the real one is in .venv
    ) || {
        cat "$venv/pip.log" >&2
        fail "the installation failed, see above. It needs the network (PyPI) this once; try again."
    }

    printf '%s\n' "$made_from" >"$venv/made-for-serve"
    if [ "$1" = test ]; then cp "$venv/made-for-serve" "$venv/made-for-test"; fi
    say "ready"
}

# Whether .venv was once complete, here (its programs contain its path) and with a Python that is
# still there. If so it is changed in place: a server may be running from it.
updatable() {
    [ -x "$venv/bin/python" ] || return 1
    case $(cat "$venv/made-for-serve" 2>/dev/null) in
        *" $root") return 0 ;;
        *) return 1 ;;
    esac
}

pip() {
    "$venv/bin/python" -I -m pip install --quiet --no-input --disable-pip-version-check \
        --constraint scripts/constraints.txt "$@" >"$venv/pip.log" 2>&1
}

# Prints the path behind the name (python3.11, not python3), so that a .venv whose Python was
# replaced by another version is a dangling link and made anew.
find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if found=$("$name" -I -c "$path_if_new_enough" 2>/dev/null); then
            "$found" -I -c 'import ensurepip, venv' 2>/dev/null || fail "$found has no venv module." \
                "On Debian and Ubuntu: sudo apt install python3-venv"
            printf '%s\n' "$found"
            return
        fi
    done
    here=$(python3 --version 2>/dev/null || echo none)
    fail "Python 3.11 or newer is needed, found: $here." \
        "Install it, and have python3 or python3.11 (or later) on the PATH."
}

path_if_new_enough='
import os, sys
sys.exit(1) if sys.version_info < (3, 11) else print(os.path.realpath(sys.executable))
'

say() {
    printf 'muster: %s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}
