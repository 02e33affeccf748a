#!/bin/sh
# What `meson install` installs is enough to build the examples, from C and from C++.
. "${0%/*}/lib.sh"

expect 0 env DESTDIR="$work/root" meson install -C "$BUILD" --no-rebuild --quiet
pc=$(find "$work/root" -name cronq.pc)
[ -n "$pc" ] || broken "cronq.pc is installed"
lib=${pc%/pkgconfig/*}
PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$work/root LD_LIBRARY_PATH=$lib
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH

for example in worker push; do
    # shellcheck disable=SC2046
    expect 0 cc -std=c11 -Wall -Wextra -Wpedantic -Werror "$EXAMPLES/$example.c" \
        -o "$work/$example" $(pkg-config --cflags --libs cronq)
done
# What the one pushes the other runs.
redis
"$work/worker" "$uri" >"$work/said" 2>&1 &
worker=$!
children="$children $worker"
expect 0 "$work/push" "$uri"
within 30 sh -c 'redis-cli -s "$0" keys "asynq:{default}:processed:*" | grep -q .' "$work/redis"
kill -TERM "$worker"
wait "$worker" || broken "the worker ends with 0"
same 'welcome, {"name":"Ada"}' "$(cat "$work/said")"
expect 1 "$work/push" "nonsense://"
complains "push: "

cat >"$work/both.cc" <<'CODE'
#include <cronq/config.h>
#include <cronq/cronq.h>
#include <cstring>

int main()
{
    cronq_config *config = nullptr;
    cronq_error err;
    int failed = cronq_config_new(&config, &err);
    cronq_config_free(config);
    return failed || std::strcmp(cronq_version_string(), CRONQ_VERSION_TEXT) != 0;
}
CODE
# shellcheck disable=SC2046
expect 0 c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror "$work/both.cc" -o "$work/both" \
    -DCRONQ_VERSION_TEXT="\"$(pkg-config --modversion cronq)\"" \
    $(pkg-config --cflags --libs cronq-service cronq)
expect 0 "$work/both"

# The example in C++, on the embedded store.
# shellcheck disable=SC2046
expect 0 c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror "$EXAMPLES/mail.cc" -o "$work/mail" \
    $(pkg-config --cflags --libs cronq)
expect 0 "$work/mail" "sqlite:$work/mail.db"
same 'to ada@example.com' "$out"

# A program that wants the core only loads none of what the service library needs.
expect 0 sh -c 'ldd "$0"' "$work/push"
case $out in *libyaml*) broken "the core does not load libyaml" ;; esac
# shellcheck disable=SC2046
expect 0 cc "$EXAMPLES/push.c" -o "$work/static" $(pkg-config --cflags cronq) "$lib/libcronq.a" \
    $(pkg-config --static --libs-only-l --libs-only-other cronq | sed 's/-lcronq//')

for file in bin/cronq share/man/man1/cronq.1 share/bash-completion/completions/cronq.bash \
    share/zsh/site-functions/_cronq include/cronq/cronq.h; do
    find "$work/root" -path "*/$file" | grep -q . || broken "$file is installed"
done

# What is loaded at start is bound at start, and nothing that is written can be run.
for file in $(find "$work/root" -path '*/bin/cronq' -o -name 'libcronq*.so.*.*.*'); do
    expect 0 readelf -hldW "$file"
    for wanted in 'Type: *DYN' 'GNU_RELRO' 'BIND_NOW' 'GNU_STACK .* RW '; do
        printf '%s\n' "$out" | grep -q "$wanted" || broken "$file is hardened: $wanted"
    done
    expect 0 nm -D "$file"
    says __stack_chk_fail
    says _chk@
done
