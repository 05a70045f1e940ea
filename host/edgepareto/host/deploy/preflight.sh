# Looks a board over and prints one fact per line, key=value. Read by sh from stdin, as any user; changes nothing.
# $1: another root than / (tests). $2: the agent's port. Needs a POSIX shell and what busybox has.
r=${1:-}
port=${2:-50051}
say() { printf '%s=%s\n' "$1" "$2"; }
text() { { tr -d '\000' < "$1"; } 2>/dev/null | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' | sed -n '/./p' | head -n 1; }
has() { command -v "$1" >/dev/null 2>&1; }

say facts 1
say clock "$(date +%s)"
say arch "$(uname -m)"
# The fifth byte of an ELF file: 1 is 32 bits, 2 is 64. A 64-bit kernel may carry a 32-bit system.
case $(dd if=/bin/sh bs=1 skip=4 count=1 2>/dev/null | od -An -tu1 | tr -d ' ') in 1) say bits 32 ;; 2) say bits 64 ;; esac
say user "$(id -un)"
say uid "$(id -u)"
say groups "$(id -Gn)"
say os "$(sed -n 's/^PRETTY_NAME=//p' "$r/etc/os-release" 2>/dev/null | tr -d '"')"
say kernel "$(uname -r)"
say model "$(text "$r/proc/device-tree/model" || true)$([ -s "$r/proc/device-tree/model" ] || text "$r/sys/class/dmi/id/product_name")"
say l4t "$(sed -n 's/^# R\([0-9]*\).*REVISION: \([0-9.]*\).*/\1.\2/p' "$r/etc/nv_tegra_release" 2>/dev/null)"

# The same as edgepareto.agent.device_info; what it is made of does not leave the board.
id=$(text "$r/proc/device-tree/serial-number")
[ "$id" ] || id=$(text "$r/etc/machine-id")
[ "$id" ] || id=$(uname -n)
say board_id "$(printf 'edgepareto %s' "$id" | sha256sum | cut -c1-16)"

if has getconf && getconf GNU_LIBC_VERSION >/dev/null 2>&1; then say libc "$(getconf GNU_LIBC_VERSION)"
elif ls /lib/ld-musl-* >/dev/null 2>&1; then say libc musl
else say libc "glibc $(ldd --version 2>/dev/null | sed -n '1s/.* //p')"; fi

for python in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/local/bin/python3 /opt/python*/bin/python3; do
  found=$(command -v "$python" 2>/dev/null) || continue
  fact=$("$found" -c 'import struct, sys
try:
    import venv
    has = "venv"
except ImportError:
    has = "novenv"
print("%d.%d.%d %d %s" % (sys.version_info[:3] + (struct.calcsize("P") * 8, has)))' 2>/dev/null) && say python "$found $fact"
done

for folder in /opt /var/lib /var/tmp; do
  set -- $(df -Pk "$r$folder" 2>/dev/null | sed -n '2p')
  [ $# -ge 6 ] || continue
  while [ $# -gt 6 ]; do shift; done
  options=$(sed -n "s|^[^ ]* $6 [^ ]* \([^ ]*\) .*|\1|p" /proc/mounts | tail -n 1)
  say disk "$folder $4 $options"
done
say root_kind "$(sed -n 's|^[^ ]* / \([^ ]*\) .*|\1|p' "$r/proc/mounts" 2>/dev/null | tail -n 1)"
say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' "$r/proc/meminfo" 2>/dev/null)"
say available_kb "$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' "$r/proc/meminfo" 2>/dev/null)"
if grep -qw memory "$r/sys/fs/cgroup/cgroup.controllers" 2>/dev/null; then say memory_cgroup on
elif grep -q '^memory.*1$' "$r/proc/cgroups" 2>/dev/null; then say memory_cgroup on
else say memory_cgroup off; fi

say init "$(text "$r/proc/1/comm")"
[ -d "$r/run/systemd/system" ] && say systemd "$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
# Before the password sudo does not say who may use it, unless nobody of the kind may.
if has sudo; then
  if said=$(LC_ALL=C sudo -n true 2>&1 < /dev/null); then say sudo yes
  else case $said in *"not in the sudoers"* | *"may not run"* | *"not allowed"*) say sudo refuses ;; *) say sudo asks ;; esac; fi
fi

for policy in "$r"/sys/devices/system/cpu/cpufreq/policy*/scaling_governor; do
  [ -e "$policy" ] && say cpufreq "$(text "$policy")" && break
done
[ -d "$r/sys/class/i2c-dev" ] && say i2c_module yes
for bus in "$r"/dev/i2c-*; do
  [ -e "$bus" ] || continue
  number=${bus##*-}
  [ -r "$bus" ] && [ -w "$bus" ] && access=yes || access=no
  say i2c "$number $(ls -ld "$bus" | sed 's/^[^ ]* *[^ ]* *[^ ]* *\([^ ]*\) .*/\1/') $access $(text "$r/sys/class/i2c-dev/i2c-$number/name")"
done
for sensor in "$r"/sys/class/hwmon/hwmon*/name; do
  case $(text "$sensor") in ina2* | ina3221) say meter "hwmon $(text "$sensor")" ;; esac
done
[ -e "$r/sys/class/powercap/intel-rapl:0/energy_uj" ] && say meter "rapl intel-rapl:0"
case $(text "$r/proc/device-tree/model") in *"Raspberry Pi 5"*) has vcgencmd && say meter "pi5_pmic vcgencmd" ;; esac

# Listening sockets: state 0A, the port in hex, the owner's number in the eighth column.
wanted=$(printf '%04X' "$port")
holder=$(cat "$r/proc/net/tcp" "$r/proc/net/tcp6" 2>/dev/null | sed -n "s/^ *[0-9]*: [0-9A-F]*:$wanted [0-9A-F:]* 0A [^ ]* [^ ]* [^ ]*  *\([0-9]*\) .*/\1/p" | head -n 1)
if [ "$holder" ]; then
  say port_user "$(sed -n "s/^\([^:]*\):[^:]*:$holder:.*/\1/p" /etc/passwd | sed -n '1p')"
  say port_uid "$holder"
fi
release=$(readlink "$r/opt/edgepareto/current" 2>/dev/null) && {
  say agent_release "${release##*/}"
  for info in "$r"/opt/edgepareto/current/lib/python3*/site-packages/edgepareto-*.dist-info; do
    [ -d "$info" ] && info=${info##*/edgepareto-} && say agent_version "${info%.dist-info}"
  done
  has systemctl && say agent_unit "$(systemctl is-active edgepareto-agent 2>/dev/null)"
}
say end yes
