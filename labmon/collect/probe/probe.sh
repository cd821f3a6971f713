# What labmon runs on a machine: reads counters and prints them, changes nothing, needs no privilege.
#
# POSIX sh; bash, dash and busybox are tested. It comes on the standard input of `sh -s`, so the account may
# have any login shell: that one only has to start `sh`. A program that stands in for it (a forced command
# in authorized_keys) may ignore its input and print the same text. What is asked of it are its arguments, or
# the words of SSH_ORIGINAL_COMMAND, which is where sshd puts them beside a forced command:
#
#   since BOOT_ID   the collector has counters of that boot: one sample is enough, without waiting a second
#   facts           print also what the machine is, where facts.sh came with this script
#   loop            then print everything again for each line `next` on standard input, until that ends
#
# Each part starts with a line `#name` and is optional: where a file or a program is missing, its lines are.
# Counters are printed as they are, with the file they come from; all arithmetic is left to the collector.
# `#end` comes last, so that half an output is known for one. Comment lines are not sent.
#
# What a program costs is its start, a millisecond each. So the shell reads small files by itself, and one
# grep reads all others.
#
# All of it is one function, called by the last line: a script cut short on the way does nothing at all. No
# program called here reads standard input, where the rest of the script or the next line may be.
labmon_probe() {
	LC_ALL=C
	PATH=${PATH:-/bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
	export LC_ALL PATH

	# show PATTERN FILE...: the lines that match, each after its file's name and a colon, in one process, so
	# that the files of one sample are read within a millisecond. /dev/null makes two files of one: grep
	# names them only then.
	if command -v grep >/dev/null; then
		show() { grep -s -E "$@" /dev/null; }
	else
		show() {
			shift
			for file in "$@"; do
				[ -r "$file" ] && while IFS= read -r line; do
					printf '%s:%s\n' "$file" "$line"
				done <"$file"
			done
		}
	fi

	# sample PATTERN FILE...: the counters, and what else matches. The uptime comes first: it is the sample's
	# clock, and no clock setting moves it.
	sample() {
		pattern=$1
		shift
		printf '#sample\n'
		show "^[0-9.]+ [0-9.]+\$|^(cpu|ctxt|btime|pgmajfault|pswpin|pswpout) |^ *[0-9]+ +[0-9]+ [A-Za-z]|: *[0-9]+ +[0-9]$pattern" \
			/proc/uptime /proc/stat /proc/vmstat /proc/net/dev /proc/diskstats "$@"
	}

	# A wedged driver leaves nvidia-smi unkillable, so it is watched and never waited for (`timeout` would
	# wait), and while one hangs no other is started.
	nvidia() {
		if [ -n "$(show '^[0-9]+ \(nvidia-smi\) D ' /proc/[0-9]*/stat)" ]; then
			printf 'hangs\n'
			return
		fi
		nvidia-smi --format=csv,noheader,nounits \
			--query-gpu=utilization.gpu,memory.used,memory.total,temperature.gpu &
		job=$!
		tenths=0
		while kill -0 "$job"; do
			if [ "$tenths" -ge 50 ]; then
				kill -9 "$job"
				printf '\nhangs\n'
				break
			fi
			sleep 0.1 && tenths=$((tenths + 1)) || { sleep 1 && tenths=$((tenths + 10)); } || break
		done
	}

	now() {
		printf '#time\n'
		if [ "$EPOCHREALTIME" ]; then printf '%s\n' "$EPOCHREALTIME"; else date -u +%s.%N; fi
	}

	# begin KIND: a line of its own, whatever the login printed before.
	begin() { printf '\n#labmon 1%s\n' "$1"; }

	linux() {
		begin ''

		# Network cards and disks that are hardware have a `device`; bridges, tunnels, loops, volumes do not.
		printf '#hardware\n'
		list=
		read -r list </sys/devices/system/cpu/present && printf 'processors %s\n' "$list"
		[ -d /sys/class/net ] && printf 'sys net\n'
		[ -d /sys/block ] && printf 'sys block\n'
		for file in /sys/class/net/*/device /sys/block/*/device; do
			[ -e "$file" ] && printf '%s\n' "$file"
		done

		# Of a disk: its size, whether it can be taken out or is hidden, how it fares, a card's kind, and its place
		# in the machine, which tells a USB stick; none if it was pulled out just now. Then the world-wide name,
		# by which a disk with two controllers is known for one. No disk itself is asked.
		printf '#disks\n'
		[ -d /sys/block ] && printf 'sys block\n'
		list=
		for disk in /sys/block/*; do
			[ -e "$disk/device" ] || continue
			unset size removable hidden state type id
			read -r size <"$disk/size"
			read -r removable <"$disk/removable"
			read -r hidden <"$disk/hidden"
			read -r state rest <"$disk/device/state"
			read -r type <"$disk/device/type"
			read -r id <"$disk/device/wwid"
			list="$list${id:+wwid ${disk##*/} $id
}"
			printf 'disk %s %s %s %s %s %s ' "${disk##*/}" \
				"${size:--}" "${removable:--}" "${hidden:--}" "${state:--}" "${type:--}"
			cd "$disk/device" && pwd -P || printf -- '-\n'
		done
		cd /
		printf '#wwids\n%s' "$list"

		# Only what may be the processor's is read: asking a disk for its temperature can wake it up, and some
		# laptops (dell_smm) stand still meanwhile. Labels are constants. Before Linux 3.13 the files of a chip
		# were in its `device`.
		printf '#temperature\n'
		for chip in /sys/class/hwmon/hwmon*; do
			name=
			read -r name <"$chip/name" || read -r name <"$chip/device/name"
			labelled=
			case $name in
			'' | drivetemp | nvme | dell_smm | acpitz) continue ;;
			*[Cc][Pp][Uu]* | *core* | *[Ss][Oo][Cc]* | *thermal* | k*temp | zenpower | tsens* | imx* | bcm2*) ;;
			*) labelled=yes ;;
			esac
			for file in "$chip"/temp*_input "$chip"/device/temp*_input; do
				[ -e "$file" ] || continue
				value=
				label=
				read -r label <"${file%_input}_label"
				case $labelled$label in
				yes*[Cc][Pp][Uu]* | yes*[Ss][Oo][Cc]*) ;;
				yes*) continue ;;
				esac
				read -r value <"$file"
				printf 'hwmon %s %s %s\n' "$name" "$value" "$label"
			done
		done
		for zone in /sys/class/thermal/thermal_zone*; do
			name=
			value=
			read -r name <"$zone/type" && read -r value <"$zone/temp" && printf 'zone %s %s\n' "$value" "$name"
		done

		# Without /proc/1 the processes of others are hidden (hidepid), and the count would be of ours alone.
		printf '#processes\n'
		if [ -d /proc/1 ]; then
			set -- /proc/[0-9]*
			printf '%s\n' $#
		fi

		# The root file system and no other is asked, and only when it is local: a dead network mount hangs
		# whoever touches it, and so can `df -l`, which looks at each mount before it leaves it out. A
		# "rootfs" is what the kernel started with, mostly under the real one. What is made read-only
		# (squashfs, erofs, iso9660) is full for ever, which says nothing.
		printf '#root\n'
		kind=
		while read -r line folder type rest; do
			[ "$folder" = / ] && kind=$type && [ "$type" != rootfs ] && break
		done </proc/mounts
		case $kind in
		ext[234] | xfs | btrfs | zfs | f2fs | jfs | reiserfs | reiser4 | bcachefs | nilfs2 | overlay | aufs | tmpfs | rootfs | \
			ubifs | vfat | ntfs3 | fuseblk | fuse.fuse-overlayfs | simfs | wslfs | lxfs)
			printf 'type %s\n' "$kind"
			stat -f -c 'statfs %b %f %a' / || df -P -k /
			;;
		*) printf 'skipped %s\n' "$kind" ;;
		esac
		mounts

		# A card that sleeps is left asleep: reading its load would wake it.
		printf '#gpu\n'
		command -v nvidia-smi >/dev/null && nvidia
		for card in /sys/class/drm/card[0-9]*/device; do
			[ -r "$card/gpu_busy_percent" ] || continue
			unset state busy used total value
			read -r state <"$card/power/runtime_status"
			if [ "$state" = suspended ]; then
				busy=0
			else
				read -r busy <"$card/gpu_busy_percent"
				read -r used <"$card/mem_info_vram_used"
				read -r total <"$card/mem_info_vram_total"
				for file in "$card"/hwmon/hwmon*/temp1_input; do read -r value <"$file"; done
			fi
			printf 'amd %s %s %s %s\n' "${busy:--}" "${used:--}" "${total:--}" "${value:--}"
		done

		# logind knows who sits here also where nobody writes utmp any more (Wayland, Debian 13); where it
		# runs there is a seat0, while the folders alone may be there without it. The *.ref beside the
		# sessions are pipes: reading one would wait for ever. A utmp that does not exist or is empty
		# (containers, musl) has no record of anyone, and `who` would say 0 whoever is there.
		printf '#users\n'
		set --
		if [ -e /run/systemd/seats/seat0 ]; then
			printf 'logind\n'
			for file in /run/systemd/sessions/*; do
				case $file in *.ref) continue ;; esac
				[ -f "$file" ] && set -- "$@" "$file"
			done
		elif [ -s /run/utmp ] || [ -s /var/run/utmp ]; then
			line=$(who) && printf 'utmp\n%s\n' "$line"
		fi

		# The cache of ZFS counts as used. In a container it is the host's, which has no part in a meminfo that
		# is mounted from elsewhere.
		zfs=
		if [ -e /proc/spl/kstat/zfs/arcstats ]; then
			zfs='|^(size|c_min) +[0-9]|^[^ ]+ /proc/meminfo '
			set -- "$@" /proc/spl/kstat/zfs/arcstats /proc/mounts
		fi

		if [ "$pause" ]; then
			sample ''
			sleep 1
		fi
		sample '|^(MemTotal|MemFree|MemAvailable|Buffers|Cached|SReclaimable|Shmem|SwapTotal|SwapFree):|^[0-9.]+ [0-9.]+ [0-9.]+ |^[0-9a-f-]+$|^Uid:|^(UID|STATE|CLASS|TTY|SEAT)='"$zfs" \
			/proc/meminfo /proc/loadavg /proc/sys/kernel/random/boot_id /proc/self/status "$@"
		now
	}

	# Not yet seen by a Mac: after the manual pages. No tool prints the processors' counters, so top watches
	# them for a second, whatever was asked. zsh has the clock that date has not.
	darwin() {
		begin ' darwin'
		printf '#users\n'
		line=$(who) && printf 'utmp\n%s\n' "$line"
		printf '#root\n'
		# The system is on a sealed volume of its own; what fills up is beside it.
		file=/System/Volumes/Data
		[ -d "$file" ] || file=/
		df -P -k "$file"
		printf '#disks\n'
		ioreg -r -d 3 -w 0 -c IOBlockStorageDevice | grep -E '"(Protocol Characteristics|Removable|Size)" = '
		printf '#gpu\n'
		ioreg -r -d 1 -w 0 -c IOAccelerator | grep '"PerformanceStatistics"'
		darwin_sample
		printf '#top\n'
		top -l 2 -s 1 -n 0
		darwin_sample
		printf '#now\n'
		sysctl hw.memsize vm.loadavg vm.swapusage
		now
	}

	darwin_sample() {
		printf '#sample\n'
		printf 'clock: %s\n' "$(zsh -f -c 'zmodload zsh/datetime && print -r -- $EPOCHREALTIME')"
		sysctl kern.boottime kern.bootsessionuuid
		netstat -i -b -n
		ioreg -r -d 2 -w 0 -c IOBlockStorageDriver | grep -E '"(Statistics|BSD Name)"'
		vm_stat
	}

	# The other local file systems, by one program. What is under a mount that is not local is left out as well:
	# the way to it leads through there. So are images (loop), what is mounted a second time, and files.
	mounts() {
		printf '#mounts\n'
		far=
		seen=' '
		set --
		while read -r line folder type rest; do
			case $type in
			ext[234] | xfs | btrfs | zfs | f2fs | jfs | reiserfs | reiser4 | bcachefs | nilfs2 | ubifs | vfat | ntfs3 | \
				fuseblk | overlay | simfs | wslfs | lxfs)
				case $type$folder in overlay/?*) continue ;; esac
				;;
			nfs* | cifs | smb* | afs | autofs | ceph | gfs* | ocfs* | lustre | 9p | fuse.* | *fs.* | glusterfs | ncpfs | coda)
				far="$far$folder/ "
				continue
				;;
			*) continue ;;
			esac
			case $line$seen in /dev/loop*) continue ;; *" $line "*) continue ;; esac
			for rest in $far; do
				case $folder/ in "$rest"?*) continue 2 ;; esac
			done
			case $folder in *\\*) folder=$(printf '%b' "$folder") ;; esac
			[ -d "$folder" ] || continue
			seen="$seen$line "
			set -- "$@" "$folder"
			[ $# -ge 64 ] && break
		done </proc/mounts
		[ $# -gt 0 ] || return
		stat -f -c 'mount %b %f %a %S %c %d %n' "$@" || df -P -k "$@"
	}

	round() {
		"$system"
		case $asked in *' facts '*)
			command -v labmon_facts >/dev/null && labmon_facts
			unset -f labmon_facts
			;;
		esac
		printf '\n#end\n'
	}

	asked=" $* $SSH_ORIGINAL_COMMAND "
	system=linux
	[ -e /proc/self ] || [ "$(uname)" != Darwin ] || system=darwin
	boot=
	read -r boot </proc/sys/kernel/random/boot_id
	pause=yes
	case $asked in *" since ${boot:-?} "*) pause= ;; esac
	round </dev/null
	pause=
	case $asked in
	*' loop '*) while read -r line; do [ "$line" = next ] && round </dev/null; done ;;
	esac
}
labmon_probe "$@" 2>/dev/null
