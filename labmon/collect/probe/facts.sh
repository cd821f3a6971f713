# What labmon asks a machine about itself, once a day and after a boot: what it is, not what it does. It is sent
# before probe.sh, on the same input, and only then; probe.sh calls it when it is asked for `facts` as well.
#
# It reads files, and starts programs only where no file says it: each for a second or two at most, and none
# that could use the network. Each fact is a line `name value`, or has its values behind tabs; what cannot be
# read is no line. Comment lines are not sent.
labmon_facts() {
	printf '#facts\n'

	fact() { [ "$2" ] && printf '%s %s\n' "$1" "$2"; }
	first() {
		line=
		[ -r "$2" ] && read -r line <"$2"
		fact "$1" "$line"
	}
	# Where there is no `timeout` what might take long is not asked at all. Old busybox has another syntax.
	if timeout 1 true; then
		limit() { timeout "$@"; }
	elif timeout -t 1 true; then
		limit() { timeout -t "$@"; }
	else
		limit() { return 1; }
	fi

	first hostname /proc/sys/kernel/hostname
	first kernel /proc/sys/kernel/osrelease
	fact architecture "$(uname -m)"
	file=/etc/os-release
	[ -r "$file" ] || file=/usr/lib/os-release
	while IFS= read -r line; do
		case $line in ID=* | NAME=* | VERSION_ID=* | VERSION=* | PRETTY_NAME=*) printf 'release %s\n' "$line" ;; esac
	done <"$file"
	grep -s -m 1 -E '^(model name|cpu model|uarch)[[:space:]]*:' /proc/cpuinfo ||
		limit 1 lscpu | grep -m 1 '^Model name:'
	fact threads "$(grep -s -c '^processor[[:space:]]*:' /proc/cpuinfo)"
	fact cores "$(grep -s -h . /sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list | sort -u | grep -c .)"
	grep -s '^MemTotal:' /proc/meminfo
	grep -s '^btime ' /proc/stat

	# What udev wrote down when it found the disk; the disk itself is not asked.
	printf 'sys block\n'
	for disk in /sys/block/*; do
		[ -e "$disk/device" ] || continue
		unset size removable hidden model serial device
		read -r size <"$disk/size"
		read -r removable <"$disk/removable"
		read -r hidden <"$disk/hidden"
		[ "$hidden" = 1 ] || [ "$removable" = 1 ] && continue
		read -r model <"$disk/device/model"
		read -r serial <"$disk/device/serial"
		read -r device <"$disk/dev"
		file=/run/udev/data/b$device
		[ -r "$file" ] && while IFS= read -r line; do
			case $line in
			E:ID_SERIAL_SHORT=*) serial=${line#*=} ;;
			E:ID_MODEL=*) model=${model:-${line#*=}} ;;
			esac
		done <"$file"
		printf 'disk %s\t%s\t%s\t%s\n' "${disk##*/}" "$size" "$model" "$serial"
	done

	[ -d /sys/bus/pci/devices ] && printf 'sys pci\n'
	list=
	for card in /sys/bus/pci/devices/*; do
		unset type vendor device driver version
		read -r type <"$card/class"
		case $type in 0x03*) ;; *) continue ;; esac
		read -r vendor <"$card/vendor"
		read -r device <"$card/device"
		driver=$(readlink "$card/driver")
		driver=${driver##*/}
		[ "$driver" ] && read -r version <"/sys/module/$driver/version"
		printf 'gpu %s\t%s\t%s\n' "${card##*/}" "${vendor#0x}:${device#0x}" "$driver${version:+ $version}"
		list=yes
	done
	[ "$list" ] && limit 1 lspci -D | grep -E '^[^ ]+ (VGA|3D|Display)' | while IFS= read -r line; do
		printf 'pci %s\n' "$line"
	done

	[ -d /sys/class/net ] && printf 'sys net\n'
	for card in /sys/class/net/*; do
		[ -e "$card/device" ] || continue
		unset address speed
		read -r address <"$card/address"
		read -r speed <"$card/speed"
		printf 'card %s\t%s\t%s\n' "${card##*/}" "$address" "$speed"
	done

	for name in sys_vendor product_name product_version product_serial board_vendor board_name board_serial; do
		first "$name" "/sys/class/dmi/id/$name"
	done
	first tree_model /proc/device-tree/model
	first tree_serial /proc/device-tree/serial-number
	if [ "$labmon_sudo" ] && [ ! -r /sys/class/dmi/id/product_serial ] && [ -d /sys/class/dmi/id ]; then
		fact product_serial "$(limit 2 sudo -n dmidecode -s system-serial-number)"
	fi
	[ -e /sys/class/dmi/id/product_serial ] && [ ! -r /sys/class/dmi/id/product_serial ] && printf 'serial hidden\n'

	if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then
		printf 'reboot yes\n'
	elif [ -e /etc/debian_version ]; then
		printf 'reboot no\n'
	elif command -v needs-restarting >/dev/null; then
		limit 2 needs-restarting -r >/dev/null
		case $? in 0) printf 'reboot no\n' ;; 1) printf 'reboot yes\n' ;; esac
	fi

	# What was fetched before: none of these asks the network. apt-get would work for seconds.
	if [ -s /var/lib/update-notifier/updates-available ]; then
		while IFS= read -r line; do fact notifier "$line"; done </var/lib/update-notifier/updates-available
	elif command -v dnf >/dev/null; then
		list=$(limit 2 dnf -C -q check-update)
		case $? in 0 | 100)
			fact updates "$(printf '%s\n' "$list" | grep -c -E '^[^ ]+\.[^ ]+ +[^ ]+ +[^ ]+ *$')"
			;;
		esac
	elif command -v pacman >/dev/null; then
		fact updates "$(limit 2 pacman -Qu | grep -c .)"
	fi

	if [ -d /run/systemd/system ]; then
		list=$(limit 1 systemctl --failed --plain --no-legend --no-pager) && {
			printf 'units\n'
			printf '%s\n' "$list" | while read -r name line; do fact unit "$name"; done
		}
		fact synchronised "$(limit 1 timedatectl show -p NTPSynchronized --value)"
	fi
	[ "$labmon_image" ] && [ -f "$labmon_image" ] && fact image "$(limit 1 head -n 1 "$labmon_image")"
}
