#!/bin/sh
# Everything that is done to a board, by `host deploy` over SSH or by hand. POSIX sh; also dash and busybox.
#
#   install-agent.sh                     by hand, in a clone on the board: builds what it needs there, then installs it
#   install-agent.sh install BUNDLE      a folder as `host deploy` makes it. On any failure all is as it was before
#   install-agent.sh commit | rollback   forget what was there before the last install, or go back to it
#   install-agent.sh remove              leave nothing behind
#   install-agent.sh grant NAME          an owner's CA on stdin (PEM): whose hosts may use this board
#   install-agent.sh revoke NAME
#   install-agent.sh owners              name and fingerprint of each
#   install-agent.sh credentials         a tar of agent.pem, agent.key on stdin: the board's certificate, at once or not
#   install-agent.sh status              key=value lines
#
# EDGEPARETO_ROOT: another root than /, for tests. Lines beginning with "step " tell how far it is.
set -eu
umask 022

ROOT=${EDGEPARETO_ROOT:-}
OPT=$ROOT/opt/edgepareto
ETC=$ROOT/etc/edgepareto
STATE=$ROOT/var/lib/edgepareto-agent
UNITS=$ROOT/etc/systemd/system
RULES=$ROOT/etc/udev/rules.d/60-edgepareto.rules
BEFORE=$OPT/before          # what was there before an install that nobody has committed yet
WRITTEN=$OPT/agent.toml     # as we wrote it: another text in $ETC is the user's, and kept
USER_NAME=edgepareto
AGENT=edgepareto-agent.service
SOCKET=edgepareto-worker.socket
UNIT_FILES="edgepareto-agent.service edgepareto-worker.socket edgepareto-worker@.service"
CLOCK_SOCKET=edgepareto-clocks.socket
CLOCK_UNITS="edgepareto-clocks.socket edgepareto-clocks@.service"    # only where the bundle names clock modes
DROPIN_FOLDERS="edgepareto-agent.service.d edgepareto-worker@.service.d edgepareto-clocks@.service.d"
CLOCK_STATE=$ROOT/var/lib/edgepareto-clocks
DROPIN=50-board.conf        # ours; a user's own drop-ins stay until remove
LOG_LINES=10000             # of the agent's log where there is no journal
# What neither agent nor worker imports; with tests left out anyway, two fifths of the rest.
NOT_COMPILED='/(tests?|testing|quantization|transformers|tools|distutils|f2py|tqdm|packaging|aot|tflite|ma|polynomial|beta)/|/(descriptor_pb2|schema_py_generated)[.]py$'
START_S=180                 # for the agent to say that it serves

undo=no
child=
scratch=    # folders of ours, gone at the end
made=

say() { printf '%s\n' "$*" || :; }   # a reader that went away must not end an installation half way
put() { printf '%s\n' "$*"; }       # into a file: a full disk must
step() { say "step $*"; }
die() { say "error: $*" >&2; exit 1; }

finish() {
    code=$?
    trap '' HUP INT TERM
    set +e
    if [ "$undo" = yes ]; then
        undo=no
        step "putting everything back"
        restore
    fi
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$made" ] || rm -rf "$made"
    sync                # the caller takes the exit for done: a power failure must not undo it
    exit "$code"
}

# Long commands run in the background, so that a signal is heeded at once.
attend() {
    "$@" & child=$!
    if wait "$child"; then child=; else code=$?; child=; return "$code"; fi
}

stop_child() {
    if [ -n "$child" ]; then
        kill "$child" 2>/dev/null || :
        wait "$child" 2>/dev/null || :      # else it writes into what is being put back
    fi
    exit 130
}

has_user() { grep -q "^$USER_NAME:" "$ROOT/etc/passwd"; }
has_systemd() { [ -d "$ROOT/run/systemd/system" ]; }
is_there() { [ -e "$1" ] || [ -L "$1" ]; }

for_service() {     # owner root, group the service's; in a test's root only the mode counts
    mode=$1; shift
    chmod "$mode" "$@"
    [ -n "$ROOT" ] || chown "root:$USER_NAME" "$@"
}

make_scratch() {    # in memory: private keys pass through it
    scratch=$(mktemp -d "$ROOT/run/edgepareto-XXXXXX")
}

value() {           # of KEY in bundle.conf
    sed -n "s/^$1=//p" "$bundle/bundle.conf" | head -n 1
}

clock_modes() { for mode in $(value clock_modes); do put "$mode"; done; }     # of the bundle, one a line

check_clock_modes() {       # they end in root's own list
    case " $(value clock_modes)" in
        *[!A-Za-z0-9._+\ -]* | *" "[._+-]*) die "clock modes '$(value clock_modes)': a name is letters, digits and . _ + -" ;;
    esac
}

wants_clocks() { has_systemd && [ -n "$(value clock_modes)" ]; }

unit_files() {      # that the bundle wants
    put "$UNIT_FILES"
    if wants_clocks; then put "$CLOCK_UNITS"; fi
}

check_owner_name() {
    case $1 in
        '' | .* | -* | *[!A-Za-z0-9._@-]*) die "owner '$1': a name is letters, digits and . _ @ -" ;;
    esac
}

check_certificate() {
    [ "$(wc -c < "$1")" -le 65536 ] || die "$2 is larger than the 64 KiB that a certificate may have"
    grep -q 'PRIVATE KEY' "$1" && die "$2 holds a private key, which no other machine should ever see; the ca.pem is wanted"
    [ "$(grep -c 'BEGIN CERTIFICATE' "$1")" = 1 ] || die "$2 must be one certificate in PEM"
}

fingerprint() {     # sha256 of the certificate's DER
    sed -n '/BEGIN CERT/,/END CERT/p' "$1" | grep -v CERT | base64 -d 2>/dev/null | sha256sum | cut -c1-64
}

# ---- what is managed, kept and put back

managed() {
    say "$ETC"
    for unit in $UNIT_FILES $CLOCK_UNITS $DROPIN_FOLDERS; do say "$UNITS/$unit"; done
    say "$RULES"
    for name in current install-agent.sh start-agent agent.toml made-user made-udev; do say "$OPT/$name"; done
}

keep_before() {
    drop_before
    mkdir -p "$BEFORE/files"
    chmod 700 "$BEFORE"
    put "$release" > "$BEFORE/new-release"
    is_complete "$release" && : > "$BEFORE/release-was-there"
    has_user && : > "$BEFORE/had-user"
    if has_systemd; then
        for unit in $AGENT $SOCKET $CLOCK_SOCKET; do
            systemctl is-enabled --quiet "$unit" 2>/dev/null && : > "$BEFORE/enabled-$unit"
            systemctl is-active --quiet "$unit" 2>/dev/null && : > "$BEFORE/active-$unit"
        done
    fi
    managed | while IFS= read -r path; do
        if is_there "$path"; then
            kept=$BEFORE/files/${path#"$ROOT"/}
            mkdir -p "${kept%/*}"
            cp -a "$path" "$kept"
        fi
    done
    [ -d "$ROOT/etc/udev/rules.d" ] && : > "$BEFORE/had-udev-folder"
    sync
    : > "$BEFORE/whole"
}

drop_before() {     # first what makes it count: half of it, put back, would cost the other half
    rm -f "$BEFORE/whole"
    rm -rf "$BEFORE"
}

restore() {         # each step is done whatever became of the one before: it may be the second try
    set +e
    put_back=yes
    if [ ! -e "$BEFORE/whole" ]; then
        drop_before
    else
        new=$(cat "$BEFORE/new-release")
        if has_systemd; then
            for unit in $AGENT $SOCKET $CLOCK_SOCKET; do
                [ -e "$BEFORE/enabled-$unit" ] || systemctl disable --quiet "$unit" 2>/dev/null
            done
            systemctl stop $AGENT $SOCKET $CLOCK_SOCKET 2>/dev/null
            reset_workers
        fi
        # First what makes room: the disk may be full.
        [ -e "$BEFORE/release-was-there" ] || [ -z "$new" ] || rm -rf "$OPT/releases/$new" || put_back=no
        if [ -d "$OPT/releases/$new.spoiled" ]; then mv "$OPT/releases/$new.spoiled" "$OPT/releases/$new" || put_back=no; fi
        managed | {
            all=0
            while IFS= read -r path; do
                kept=$BEFORE/files/${path#"$ROOT"/}
                rm -rf "$path" || all=1
                if is_there "$kept"; then cp -a "$kept" "$path" || all=1; fi
            done
            exit $all
        } || put_back=no
        rm -rf "$OPT"/*.new
        [ -e "$BEFORE/had-udev-folder" ] || rmdir "$ROOT/etc/udev/rules.d" "$ROOT/etc/udev" 2>/dev/null
        if has_systemd; then
            systemctl daemon-reload
            for unit in $SOCKET $CLOCK_SOCKET $AGENT; do
                [ -e "$BEFORE/enabled-$unit" ] && systemctl enable --quiet "$unit"
                [ -e "$BEFORE/active-$unit" ] && systemctl start "$unit"
            done
        fi
        reload_rules
        if [ ! -e "$BEFORE/had-user" ]; then
            rm -rf "$STATE"
            delete_user
        fi
        if [ $put_back = yes ]; then
            sync        # while there is still something to put back a second time
            drop_before
        else
            rm -f "$BEFORE/installed"
        fi
    fi
    rmdir "$OPT/releases" "$OPT" 2>/dev/null
    set -e
    [ $put_back = yes ] && return 0
    say "error: not all could be put back, the lines above say why; it is kept in $BEFORE, and the next call tries again" >&2
    return 1
}

is_complete() { is_whole "$1" && is_as_called "$1"; }

is_whole() {        # "complete" holds how many files are not empty: a power failure or a repaired disk empties them
    place=$OPT/releases/$1
    [ -n "$1" ] && [ -s "$place/complete" ] && [ "$(files_in "$place")" -ge "$(cat "$place/complete")" ]
}

files_in() { find "$1" -type f -size +0 ! -name '*.pyc' ! -name bundle.conf ! -name complete | wc -l; }

is_as_called() {    # VERSION-HASH: whether its agent is of that version, or somebody changed what lies there
    case $1 in hand-*) return 0 ;; esac
    for info in "$OPT/releases/$1"/lib/python3*/site-packages/edgepareto-*.dist-info; do
        [ ! -d "$info" ] || [ "${info##*/}" = "edgepareto-${1%-*}.dist-info" ] || return 1
    done
}

current() { if [ -L "$OPT/current" ]; then basename "$(readlink "$OPT/current")"; fi; }

reset_workers() {
    systemctl stop 'edgepareto-worker@*.service' 2>/dev/null || :
    systemctl stop 'edgepareto-clocks@*.service' 2>/dev/null || :      # puts the clocks back
    systemctl reset-failed 'edgepareto-worker@*.service' 'edgepareto-clocks@*.service' $AGENT $SOCKET $CLOCK_SOCKET 2>/dev/null || :
}

# ---- the steps of an installation

make_user() {
    has_user && return 0
    grep -q "^$USER_NAME:" "$ROOT/etc/group" && made_now=user || made_now="user group"
    put "$made_now" > "$OPT/made-user"      # before it is: remove goes by this
    if command -v useradd >/dev/null; then
        if [ "$made_now" = user ]; then which_group="--gid $USER_NAME"; else which_group=--user-group; fi
        # shellcheck disable=SC2086
        useradd --system $which_group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin $USER_NAME
    else
        if [ "$made_now" != user ]; then addgroup -S $USER_NAME; fi
        adduser -S -D -H -h /nonexistent -s /bin/false -G $USER_NAME $USER_NAME
    fi
}

delete_user() {
    has_user || return 0
    if command -v userdel >/dev/null; then userdel $USER_NAME; else deluser $USER_NAME; fi
    if grep -q "^$USER_NAME:" "$ROOT/etc/group"; then
        if command -v groupdel >/dev/null; then groupdel $USER_NAME; else delgroup $USER_NAME; fi
    fi
}

first_error() {     # of what pip said
    sed -n 's/^ERROR: //p' "$scratch/said" | head -n 1 | grep . || tail -n 1 "$scratch/said"
}

make_release() {
    is_complete "$release" && return 0
    place=$OPT/releases/$release
    if [ "$(current)" = "$release" ] && [ -d "$place" ]; then    # spoiled, and the only one there is
        rm -rf "$place.spoiled"
        mv "$place" "$place.spoiled"
    fi
    rm -rf "$place"
    mkdir -p "$OPT/releases"
    step "making the environment"
    attend "$python" -m venv --without-pip "$place" >&2 || die "$python cannot make a venv; on Debian: apt install python3-venv"
    step "installing the packages"
    set -- "$bundle"/wheels/pip-*.whl
    [ -f "$1" ] || die "$bundle/wheels holds no wheel of pip"
    # This one wheel runs before pip can check it: what is checked and run is a copy that nobody else can change.
    cp "$1" "$scratch/"
    [ "$(sha256sum "$scratch/${1##*/}" | cut -c1-64)" = "$(value installer_sha256)" ] ||
        die "$1 is not the file that was sent; send it again"
    mkdir "$place/tmp"  # pip's own, so that nothing of it stays elsewhere when it is stopped
    attend env TMPDIR="$place/tmp" "$place/bin/python" -I -c 'import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module("pip", run_name="__main__", alter_sys=True)' \
        "$scratch/${1##*/}" install --quiet --no-index --find-links "$bundle/wheels" --require-hashes --only-binary=:all: --no-deps \
        --no-compile --no-cache-dir --disable-pip-version-check --no-input --root-user-action ignore \
        -r "$bundle/requirements.txt" 2> "$scratch/said" || die "the packages cannot be installed: $(first_error)"
    rm -rf "$place/tmp"
    step "compiling"
    attend "$place/bin/python" -m compileall -q -j 2 -x "$NOT_COMPILED" \
        "$place/lib" || die "bytecode cannot be written below $place"
    chmod -R go-w "$place"
    sync            # else a power failure leaves a release that is called complete and has empty files
    files_in "$place" > "$place/complete"
}

write_config() {
    new=$OPT/agent.toml.new
    {
        put "# Written by install-agent.sh; what you change here is kept. All settings: agent.toml.example beside this file."
        if [ -n "$(value shared)" ]; then put "shared = $(value shared)"; fi
        if has_credentials; then
            if [ -e "$ROOT/proc/net/if_inet6" ]; then any='[::]'; else any=0.0.0.0; fi
            put "listen = \"$any:$(value port)\""
            put ''
            put "[credentials]"
            put 'folder = "/etc/edgepareto/credentials"'
        else
            put "# Without credentials this board listens to itself alone."
            put "listen = \"127.0.0.1:$(value port)\""
        fi
        if has_systemd; then
            put ''
            put "[workers]"
            put 'socket = "/run/edgepareto/worker.sock"'
        fi
        if wants_clocks; then
            put ''
            put "[clocks]"
            put "modes = [$(clock_modes | sed 's/.*/"&"/' | tr '\n' ',' | sed 's/,$//; s/,/, /g')]"
            put 'socket = "/run/edgepareto/clocks.sock"'
        fi
        put ''
        put "[meter]"
        put "kind = \"$(value meter)\""
        if [ -n "$(value shunt_ohm)" ]; then put "shunt_ohm = $(value shunt_ohm)"; fi
    } > "$new"
    if [ -s "$ETC/agent.toml" ] && ! cmp -s "$ETC/agent.toml" "$WRITTEN" && ! cmp -s "$ETC/agent.toml" "$new"; then
        say "note /etc/edgepareto/agent.toml was changed by hand and is kept"
    else
        cp "$new" "$ETC/agent.toml"
        chmod 644 "$ETC/agent.toml"
    fi
    mv "$new" "$WRITTEN"
    if wants_clocks; then       # what root's own service may set, whatever agent.toml says
        clock_modes > "$ETC/clock-modes.new"
        chmod 644 "$ETC/clock-modes.new"
        mv "$ETC/clock-modes.new" "$ETC/clock-modes"
    else
        rm -f "$ETC/clock-modes"
    fi
    cp "$bundle/files/agent.toml.example" "$ETC/agent.toml.example"
    chmod 644 "$ETC/agent.toml.example"
}

has_credentials() { [ -e "$ETC/credentials/agent.pem" ] || [ -e "$bundle/credentials/agent.pem" ]; }

# A folder of its own each time, and a link that changes in one step: the agent never sees half a pair, nor none.
switch_credentials() {      # FROM: a folder with agent.pem and agent.key, perhaps owners
    [ -f "$1/agent.pem" ] && [ -f "$1/agent.key" ] || die "the credentials need agent.pem and agent.key"
    check_certificate "$1/agent.pem" agent.pem
    fresh=$(mktemp -d "$ETC/credentials-XXXXXX")
    mkdir "$fresh/owners"
    if [ -d "$ETC/credentials/owners" ]; then cp "$ETC/credentials/owners/"*.pem "$fresh/owners/" 2>/dev/null || :; fi
    if [ -e "$1/only-these-owners" ]; then rm -f "$fresh/owners/"*; fi
    for file in "$1"/owners/*.pem; do
        [ -e "$file" ] || continue
        check_certificate "$file" "${file##*/}"
        cp "$file" "$fresh/owners/"
    done
    cp "$1/agent.pem" "$1/agent.key" "$fresh/"
    seal_credentials "$fresh"
    sync                # else the link may outlive a power failure that the key does not
    ln -sfn "${fresh##*/}" "$ETC/.credentials-link"
    mv -T "$ETC/.credentials-link" "$ETC/credentials"
    for old in "$ETC"/credentials-*; do
        [ "$old" = "$fresh" ] || rm -rf "$old"
    done
}

seal_credentials() {
    for_service 750 "$1" "$1/owners"
    for_service 640 "$1/agent.key"
    for_service 640 "$1/agent.pem"
    for file in "$1"/owners/*.pem; do
        if [ -e "$file" ]; then for_service 640 "$file"; fi
    done
}

devices() {         # what the meter may need, of what this board has
    case $(value meter) in
        auto) set -- "$ROOT"/dev/i2c-* "$ROOT/dev/vcio" ;;
        ina219) set -- "$ROOT"/dev/i2c-* ;;
        pi5_pmic) set -- "$ROOT/dev/vcio" ;;
        *) set -- ;;
    esac
    for device; do
        if [ -e "$device" ]; then say "$device"; fi
    done
}

gpu_devices() {     # of a Jetson, for the workers
    for device in "$ROOT"/dev/nvmap "$ROOT"/dev/nvhost-* "$ROOT"/dev/nvgpu/*/*; do
        if [ -e "$device" ]; then say "$device"; fi
    done
}

write_dropin() {    # UNIT FOLDER, devices on stdin, first lines as arguments
    folder=$UNITS/$1; shift
    mkdir -p "$folder"
    {
        put "# Written by install-agent.sh: what this board has."
        put "[Service]"
        for line; do put "$line"; done
        while IFS= read -r device; do
            put "DeviceAllow=${device#"$ROOT"} rw"
            stat -c %G "$device" >> "$scratch/groups"
        done
        if [ -e "$scratch/groups" ]; then
            for group in $(sort -u "$scratch/groups"); do
                [ "$group" = root ] || [ "$group" = $USER_NAME ] || put "SupplementaryGroups=$group"
            done
            rm "$scratch/groups"
        fi
    } > "$folder/$DROPIN"
}

write_rules() {
    {
        for device in $(devices); do
            if [ "$(stat -c %G "$device")" = root ] || [ "$(stat -c %G "$device")" = $USER_NAME ]; then
                put "KERNEL==\"${device##*/}\", GROUP=\"$USER_NAME\", MODE=\"0660\""
            fi
        done
        if [ "$(value meter)" = rapl ]; then
            put "SUBSYSTEM==\"powercap\", ACTION==\"add\", RUN+=\"/bin/chgrp $USER_NAME /sys%p/energy_uj\", RUN+=\"/bin/chmod 0440 /sys%p/energy_uj\""
        fi
    } > "$scratch/rules"
    if [ -s "$scratch/rules" ]; then
        mkdir -p "${RULES%/*}"
        { put "# Written by install-agent.sh: the agent's user reads the power meter."; cat "$scratch/rules"; } > "$RULES"
    else
        rm -f "$RULES"
    fi
    reload_rules
}

reload_rules() {
    command -v udevadm >/dev/null && [ -z "$ROOT" ] || return 0
    udevadm control --reload 2>/dev/null || :
    udevadm trigger --action=add --subsystem-match=i2c-dev --subsystem-match=powercap --subsystem-match=bcm2708_vcio 2>/dev/null || :
    udevadm settle --timeout=10 2>/dev/null || :
}

write_units() {
    mkdir -p "$UNITS"
    for unit in $CLOCK_UNITS edgepareto-clocks@.service.d/$DROPIN; do rm -f "$UNITS/$unit"; done
    for unit in $(unit_files); do
        cp "$bundle/files/$unit" "$UNITS/$unit"
        chmod 644 "$UNITS/$unit"
    done
    if [ -n "$(devices)" ]; then
        devices | write_dropin edgepareto-agent.service.d
    fi
    if [ -n "$(gpu_devices)" ]; then
        gpu_devices | write_dropin edgepareto-worker@.service.d PrivateDevices=no MemoryDenyWriteExecute=no
    fi
    if wants_clocks && [ -e "$ROOT/usr/sbin/nvpmodel" ]; then
        # Not ReadWritePaths=/sys: beside the unit's ReadOnlyPaths=/sys systemd takes the stricter of the two.
        write_dropin edgepareto-clocks@.service.d ReadOnlyPaths= ReadOnlyPaths=/proc/sys ReadWritePaths=-/var/lib/nvpmodel < /dev/null
    fi
}

write_start_script() {
    # The agent keeps the number of the process that was started, so that whatever started it can end it.
    cat > "$OPT/start-agent" <<END
#!/bin/sh
# Without systemd: starts the agent in the foreground, as its own user. Run it as root.
# What it says goes to agent.log as well: at most $LOG_LINES lines there, as many before them in agent.log.1.
[ "\$(id -un)" = $USER_NAME ] || exec su -s /bin/sh $USER_NAME -c "exec sh \$0"
cd "$STATE" || exit 1
rm -f log.pipe
mkfifo -m 600 log.pipe
log() {
    trap '' INT TERM HUP PIPE
    lines=0
    while IFS= read -r line; do
        if [ "\$lines" = 0 ]; then : > agent.log; fi
        printf '%s\n' "\$line" >> agent.log
        printf '%s\n' "\$line" >&2
        lines=\$((lines + 1))
        if [ "\$lines" = $LOG_LINES ]; then mv agent.log agent.log.1; lines=0; fi
    done
    rm -f log.pipe
}
if [ -e agent.log ]; then mv agent.log agent.log.1; fi
log < log.pipe &
exec "$OPT/current/bin/edgepareto-agent" --config "$ETC/agent.toml" --state "$STATE" > log.pipe 2>&1
END
    chmod 755 "$OPT/start-agent"
    mkdir -p "$STATE"
    chmod 700 "$STATE"
    [ -n "$ROOT" ] || chown "$USER_NAME:$USER_NAME" "$STATE"
    if [ -z "$ROOT" ] && command -v usermod >/dev/null; then
        for device in $(devices); do usermod -aG "$(stat -c %G "$device")" $USER_NAME; done
    fi
}

switch_release() {
    ln -sfn "releases/$release" "$OPT/current.new"
    mv -T "$OPT/current.new" "$OPT/current"
}

start_agent() {
    if wants_clocks; then systemctl enable --quiet --no-reload $CLOCK_SOCKET
    else systemctl disable --quiet --no-reload $CLOCK_SOCKET 2>/dev/null || :
    fi
    systemctl enable --quiet --no-reload $SOCKET $AGENT     # a reload takes seconds; one will do
    systemctl daemon-reload
    systemctl stop $AGENT
    reset_workers
    systemctl restart $SOCKET
    if wants_clocks; then systemctl restart $CLOCK_SOCKET; else systemctl stop $CLOCK_SOCKET 2>/dev/null || :; fi
    if attend timeout "$START_S" systemctl restart $AGENT && systemctl is-active --quiet $AGENT; then return 0; fi
    why=$(journalctl -u $AGENT -n 20 -o cat --no-pager 2>/dev/null | grep -v '^edgepareto-agent.service:\|^Start\|^Stopp\|^Failed to start\|^$' | tail -n 1 || :)
    die "the agent does not start: ${why:-it did not say that it serves within $START_S s}"
}

is_not_emptied() { [ ! -e "$1" ] || [ -s "$1" ]; }

is_the_same() {     # whether there is nothing to do
    [ "$(current)" = "$release" ] && is_complete "$release" || return 1
    [ ! -d "$bundle/credentials" ] || return 1
    cmp -s "$bundle/bundle.conf" "$OPT/releases/$release/bundle.conf" || return 1
    cmp -s "$bundle/files/install-agent.sh" "$OPT/install-agent.sh" || return 1
    [ -s "$ETC/agent.toml" ] && is_not_emptied "$RULES" || return 1
    if ! has_systemd; then [ -s "$OPT/start-agent" ]; return; fi
    for unit in $(unit_files); do cmp -s "$bundle/files/$unit" "$UNITS/$unit" || return 1; done
    if wants_clocks; then
        [ -s "$ETC/clock-modes" ] && systemctl is-enabled --quiet $CLOCK_SOCKET || return 1
    fi
    for folder in $DROPIN_FOLDERS; do is_not_emptied "$UNITS/$folder/$DROPIN" || return 1; done
    systemctl is-active --quiet $AGENT && systemctl is-enabled --quiet $AGENT && systemctl is-enabled --quiet $SOCKET
}

install() {
    bundle=$1
    [ -f "$bundle/bundle.conf" ] || die "$bundle is no bundle of host deploy: it lacks bundle.conf"
    release=$(value release)
    case $release in '' | .* | *[!A-Za-z0-9.+_-]*) die "$bundle/bundle.conf: release is '$release'" ;; esac
    check_clock_modes
    python=$(value interpreter)
    [ -n "$python" ] || python=$(command -v "python$(value python)" || command -v python3) || die "there is no Python here; on Debian: apt install python3-venv"
    seen=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || die "$python does not run; run host deploy again"
    [ "$seen" = "$(value python)" ] || die "Python here is $seen, the bundle is for $(value python); run host deploy again"
    recover
    if is_the_same; then
        say "result unchanged $release"
        return 0
    fi
    if [ -e "$BEFORE/whole" ]; then forget_before; fi
    make_scratch
    mkdir -p "$OPT"
    undo=yes
    keep_before
    make_release
    step "writing the configuration"
    make_user
    mkdir -p "$ETC"
    if [ -d "$bundle/credentials" ]; then switch_credentials "$bundle/credentials"; fi
    write_config
    write_rules
    cp "$bundle/files/install-agent.sh" "$OPT/install-agent.sh.new"
    chmod 755 "$OPT/install-agent.sh.new"
    mv "$OPT/install-agent.sh.new" "$OPT/install-agent.sh"
    switch_release
    if has_systemd; then
        write_units
        step "starting the agent"
        start_agent
    else
        write_start_script
        say "note there is no systemd here: start the agent with sudo /opt/edgepareto/start-agent"
    fi
    cp "$bundle/bundle.conf" "$OPT/releases/$release/bundle.conf"
    sync
    : > "$BEFORE/installed"
    undo=no
    say "result installed $release"
}

recover() {         # from an installation that was killed
    if [ -d "$BEFORE" ] && [ ! -e "$BEFORE/installed" ]; then
        step "putting back what an installation that was cut off left"
        restore || exit 1
    fi
}

forget_before() {
    rm -f "$BEFORE/whole"       # else a rollback would go to a release that is gone
    for place in "$OPT"/releases/*; do
        [ "${place##*/}" = "$(current)" ] || rm -rf "$place"
    done
    drop_before
}

settle() {          # what is changed from here on must not be undone by an installation that nobody ended
    recover
    if [ -e "$BEFORE/installed" ]; then forget_before; fi
}

rollback() {
    [ -e "$BEFORE/whole" ] || die "there is nothing to go back to: the last installation was committed"
    restore || exit 1
    say "result restored $(current)"
}

remove() {
    if has_systemd; then
        step "stopping the agent"
        systemctl disable --quiet --no-reload $AGENT $SOCKET 2>/dev/null || :
        systemctl disable --quiet --no-reload $CLOCK_SOCKET 2>/dev/null || :
        attend systemctl stop $AGENT $SOCKET $CLOCK_SOCKET 2>/dev/null || :
        reset_workers
    elif [ -e "$OPT/start-agent" ] && command -v pkill >/dev/null && [ -z "$ROOT" ]; then
        pkill -u $USER_NAME || :
    fi
    step "removing the files"
    rm -f "$BEFORE/whole"
    for unit in $UNIT_FILES $CLOCK_UNITS $DROPIN_FOLDERS; do rm -rf "${UNITS:?}/$unit"; done
    had_rules=no
    if [ -e "$RULES" ]; then had_rules=yes; fi
    rm -rf "$RULES" "$STATE" "$ETC" "$CLOCK_STATE" "$ROOT/run/edgepareto"
    rm -rf "$ROOT"/var/tmp/edgepareto-??????    # bundles that a power failure left
    if [ -e "$OPT/made-user" ]; then delete_user; fi
    rm -rf "$OPT"
    if [ $had_rules = yes ]; then reload_rules; fi
    if has_systemd; then
        systemctl daemon-reload
        systemctl stop 'system-edgepareto\x2dworker.slice' 2>/dev/null || :    # stays, empty, where workers were
    fi
    say "result removed"
}

# ---- credentials of an installed board

need_installed() { [ -e "$ETC/agent.toml" ] || die "no agent is installed here"; }
need_credentials() {
    need_installed
    [ -d "$ETC/credentials/owners" ] || die "this board has no credentials yet; host deploy gives it some"
}

grant() {
    check_owner_name "$1"
    need_credentials
    make_scratch
    cat > "$scratch/owner.pem"
    check_certificate "$scratch/owner.pem" "what came on stdin"
    settle
    need_credentials
    fresh=$(mktemp "$ETC/credentials/owners/.new-XXXXXX")
    cp "$scratch/owner.pem" "$fresh"
    for_service 640 "$fresh"
    sync
    mv "$fresh" "$ETC/credentials/owners/$1.pem"
    say "result granted $1 $(fingerprint "$ETC/credentials/owners/$1.pem")"
}

revoke() {
    check_owner_name "$1"
    settle
    need_credentials
    [ -e "$ETC/credentials/owners/$1.pem" ] || die "owner $1 is not known; known are: $(owner_names)"
    [ "$(find "$ETC/credentials/owners/" -name '*.pem' | wc -l)" -gt 1 ] || die "$1 is the only owner; host deploy --remove ends its use"
    rm -f "$ETC/credentials/owners/$1.pem"
    say "result revoked $1"
}

owner_names() {
    for file in "$ETC"/credentials/owners/*.pem; do
        if [ -e "$file" ]; then file=${file##*/}; printf '%s ' "${file%.pem}"; fi
    done
}

owners() {
    for file in "$ETC"/credentials/owners/*.pem; do
        if [ -s "$file" ]; then name=${file##*/}; say "owner=${name%.pem} $(fingerprint "$file")"; fi
    done
}

credentials() {
    need_installed
    make_scratch
    (cd "$scratch" && tar -xf -) || die "what came on stdin is no tar"
    settle
    need_installed
    switch_credentials "$scratch"
    say "result credentials $(fingerprint "$ETC/credentials/agent.pem")"
}

board_id() {        # as the agent makes it (agent/device_info.py)
    identity=$({ tr -d '\000' < "$ROOT/proc/device-tree/serial-number"; } 2>/dev/null || :)
    [ -n "$identity" ] || identity=$(cat "$ROOT/etc/machine-id" 2>/dev/null || :)
    [ -n "$identity" ] || identity=$(uname -n)
    printf 'edgepareto %s' "$identity" | sha256sum | cut -c1-16
}

status() {
    say "board_id=$(board_id)"
    say "clock=$(date +%s)"
    if has_systemd; then say systemd=yes; else say systemd=no; fi
    if [ -d "$BEFORE" ] && [ ! -e "$BEFORE/installed" ]; then say installed=partly
    elif [ -s "$ETC/agent.toml" ] && is_whole "$(current)"; then say installed=yes
    elif is_there "$OPT" || is_there "$ETC" || is_there "$UNITS/$AGENT"; then say installed=partly
    else say installed=no
    fi
    if is_complete "$(current)"; then say "release=$(current)"; else say release=; fi
    if [ -e "$BEFORE/installed" ]; then say pending=yes; else say pending=no; fi
    if has_systemd && systemctl is-active --quiet $AGENT 2>/dev/null; then say active=yes; else say active=no; fi
    if [ -e "$ETC/agent.toml" ] && ! cmp -s "$ETC/agent.toml" "$WRITTEN"; then say config=edited; else say config=ours; fi
    if [ -r "$ETC/credentials/agent.pem" ]; then      # empty: it is of no use, as without its key
        if [ -s "$ETC/credentials/agent.key" ]; then pem=$ETC/credentials/agent.pem; else pem=/dev/null; fi
        say "certificate=$(grep -v CERTIFICATE "$pem" | tr -d '\n')"
    fi
    owners
}

# ---- by hand

build_bundle() {    # in a clone: wheels made here, with the board's own pip and its network
    clone=$(cd "$(dirname "$0")/.." && pwd)
    [ -f "$clone/pyproject.toml" ] || die "$0 is not in a clone of the project; give a bundle: install-agent.sh install BUNDLE"
    made=$(mktemp -d)
    step "building the wheels (minutes)"
    attend python3 -m venv "$made/venv" || die "python3 cannot make a venv with pip; on Debian: apt install python3-venv"
    attend "$made/venv/bin/pip" wheel --quiet --wheel-dir "$made/bundle/wheels" "$clone[agent]" pip
    mkdir -p "$made/bundle/files"
    for file in $UNIT_FILES $CLOCK_UNITS agent.toml.example install-agent.sh; do cp "$clone/deploy/$file" "$made/bundle/files/"; done
    for wheel in "$made"/bundle/wheels/*.whl; do
        name=${wheel##*/}
        case $name in pip-*) installer=$(sha256sum "$wheel" | cut -c1-64); continue ;; esac
        put "$(say "$name" | cut -d- -f1)==$(say "$name" | cut -d- -f2) --hash=sha256:$(sha256sum "$wheel" | cut -c1-64)"
    done > "$made/bundle/requirements.txt"
    {
        put "release=hand-$(sha256sum "$made/bundle/requirements.txt" | cut -c1-12)"
        put "python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        put "installer_sha256=$installer"
        put "port=${EDGEPARETO_PORT:-50051}"
        put "meter=${EDGEPARETO_METER:-auto}"
        put "clock_modes=${EDGEPARETO_CLOCK_MODES:-}"
    } > "$made/bundle/bundle.conf"
}

# ---- the verb

[ -n "$ROOT" ] || [ "$(id -u)" = 0 ] || die "must be run as root: sudo $0 $*"
verb=${1:-by-hand}
case $verb in
    status) status; exit 0 ;;
    owners) owners; exit 0 ;;
esac
trap finish EXIT
trap stop_child HUP INT TERM
trap '' PIPE
mkdir -p "$ROOT/run/lock"
exec 9> "$ROOT/run/lock/edgepareto-install"
flock -n 9 || die "another install-agent.sh is at work on this board; try again when it has ended"
case $verb in
    install) [ $# = 2 ] || die "install wants one BUNDLE"; install "$2" ;;
    by-hand)
        build_bundle
        install "$made/bundle"
        forget_before
        ;;
    commit) settle; say "result committed $(current)" ;;
    rollback) rollback ;;
    remove) remove ;;
    grant) [ $# = 2 ] || die "grant wants one NAME"; grant "$2" ;;
    revoke) [ $# = 2 ] || die "revoke wants one NAME"; revoke "$2" ;;
    credentials) credentials ;;
    *) die "unknown verb $verb; known are install, commit, rollback, remove, grant, revoke, owners, credentials, status" ;;
esac
