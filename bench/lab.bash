# SPDX-License-Identifier: BSD-2-Clause
# Two VMs with everything between them that is measured: a link with hostd and agents, virtio-net, a
# second ivshmem device that is nobody's, and servers for each path. Sourced by run.

ADAS_IP=192.168.77.2
SIV_URL=siv://adas/bench SEALED_URL=siv://adas/vault
PORT=7000 # TCP and vsock
TLS_PORT=7001
TLS_DIR=/tmp/tls # in guests
UNIX_PATH=/tmp/bench.sock
REDIS_SIV_PORT=6379 REDIS_TCP_PORT=6380
REDIS_RULE="tcp:$ADAS_IP:$REDIS_SIV_PORT=siv://adas/cache"
REDIS_KEY=key:__rand_int__ # redis-benchmark's, literally, when it is not told to draw keys
REDIS_VALUE_BYTES=64

# The bare link: its size tells its device from the other in the guests.
BARE_SIZE=1M BARE_BYTES=$((1 << 20)) BARE_VECTORS=1
BARE_RUN=$VM_RUN/bare
SWITCH_STOP_SECONDS=5

lab_host_conf()
{
	cat <<-EOF
		trust-domain = "car.example"
		state = "$VM_RUN/state"
		run = "$VM_RUN/run"
		audit = "$SIV_AUDIT"
		vm "cockpit" { services = {"dashboard"} }
		vm "adas" { services = {"bench", "cache", "vault"} }
		link "cockpit" "adas" { size = "64M" }
		allow { from = "cockpit/dashboard"
		        to = "adas/bench" }
		allow { from = "cockpit/dashboard"
		        to = "adas/cache" }
		allow { from = "cockpit/dashboard"
		        to = "adas/vault"
		        sealed = true }
		allow { from = "adas/bench"
		        to = "adas/bench" }
	EOF
}

siv_agent_conf() # NAME
{
	case $1 in
	cockpit) echo 'service "dashboard" { user = "root" }' ;;
	adas)
		echo 'service "bench" { user = "root" }'
		echo 'service "cache" { user = "redis" }'
		echo 'service "vault" { user = "fusion" }'
		;;
	esac
}

# The second device is behind a bridge of its own, as the first is: above 4 GiB, write-back.
vm_qemu_args() # NAME
{
	[[ $1 != clockwork ]] || return 0
	"$SIV_BIN/sivctl" --config "$SIV_HOST_CONF" qemu-args "$1"
	echo "-device pci-bridge,id=bare-bridge,chassis_nr=200,pref64-reserve=8G"
	echo "-chardev socket,id=bare,path=$BARE_RUN/bare-$1.sock"
	echo "-device ivshmem-doorbell,vectors=$BARE_VECTORS,chardev=bare,bus=bare-bridge,addr=1"
}

bare_ctl() { "$SIV_BIN/siv-switchctl" --run-dir "$BARE_RUN" "$@"; }

lab_host()
{
	mkdir -p "$VM_RUN/run" "$VM_RUN/state" "$BARE_RUN"
	lab_host_conf >"$SIV_HOST_CONF"
	siv_hostd_start
	bare_ctl start "$VM_LOGS/bare-switch.log" >/dev/null
	bare_ctl add bare cockpit adas "$BARE_SIZE" "$BARE_VECTORS" >/dev/null
}

# Both switches are told to end, and awaited: a switch outlives whoever started it.
lab_host_stop()
{
	local pids pid

	pids=$(for dir in "$VM_RUN/run" "$BARE_RUN"; do
		"$SIV_BIN/siv-switchctl" --run-dir "$dir" pid 2>/dev/null
	done)
	siv_host_stop
	! pid=$(bare_ctl pid 2>/dev/null) || kill "$pid"
	for pid in $pids; do
		timeout "$SWITCH_STOP_SECONDS" tail --pid="$pid" -s 0.1 -f /dev/null
	done
}

lab_boot() { vm_pair cockpit adas; }

# Keeps the second device from the module, before that is loaded; prints what a process maps.
bare_device() # NAME
{
	vm_run "$1" sh -c 'for dev in /sys/bus/pci/devices/*; do
			[ "$(cat $dev/vendor)$(cat $dev/device)" = 0x1af40x1110 ] || continue
			[ "$(stat -c %s $dev/resource2)" = "$1" ] || continue
			echo none >$dev/driver_override && echo 1 >$dev/enable &&
				echo $dev/resource2 && exit
		done
		echo "no ivshmem device with $1 bytes of memory" >&2
		exit 1' bare "$BARE_BYTES"
}

# redis_start JOB PORT [COMMAND...]: the stock server, under COMMAND
redis_start()
{
	local job=$1 port=$2

	shift 2
	vm_job adas "$job" -u redis "$@" redis-server --dir /tmp --save '' --protected-mode no \
		--bind "$ADAS_IP" --port "$port"
	vm_job_await_line adas "$job" 'Ready to accept connections' >/dev/null
}

redis_set() # PORT [COMMAND...]
{
	local port=$1 value

	shift
	value=$(printf "%0${REDIS_VALUE_BYTES}d" 0)
	vm_run cockpit "$@" redis-cli -h "$ADAS_IP" -p "$port" set "$REDIS_KEY" "$value" |
		grep -qx OK
}

# An authority and a certificate for each VM, of the agents' kind: P-256, one link of chain.
tls_authority()
{
	mkdir -p "$VM_RUN/tls"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
		-subj /CN=bench -keyout "$VM_RUN/tls/ca.key" -out "$VM_RUN/tls/ca.pem" 2>/dev/null
}

tls_certificate() # VM
{
	local dir=$VM_RUN/tls file

	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
		-keyout "$dir/key.pem" -out "$dir/$1.csr" 2>/dev/null
	openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
		-CAcreateserial -days 2 -out "$dir/cert.pem" 2>/dev/null
	vm_run "$1" mkdir -p "$TLS_DIR"
	for file in ca cert key; do
		vm_put "$1" "$dir/$file.pem" "$TLS_DIR/$file.pem"
	done
}

# The certificates are only read where they are wanted: that takes an emulated CPU half a second.
tls_option() # ENDPOINT...
{
	[[ " $*" != *" tls:"* ]] || printf '%s\n' --tls "$TLS_DIR"
}

bench_serve() # VM JOB ENDPOINT...
{
	# shellcheck disable=SC2046 # two words or none
	vm_job "$1" "$2" siv-bench serve $(tls_option "${@:3}") "${@:3}"
	vm_job_await_line "$1" "$2" '^ready$' >/dev/null
}

# Whether agents remember whom they have verified: then they can be told to forget it.
agents_resume() { vm_run cockpit sivctl --help | grep -q '^  forget'; }

seconds_since() { jq -n "($(date +%s%N) - $1) / 1e9"; } # NANOSECONDS

# Both VMs, and what they take from the processor while they have nothing of this project in them.
# Measured on the way: how long after QEMU's start the first connect works.
lab_boot_and_connect()
{
	local start booted pid

	start=$(date +%s%N)
	lab_boot
	bare_cockpit=$(bare_device cockpit)
	bare_adas=$(bare_device adas)
	booted=$(seconds_since "$start")
	idle_cpu 0 none
	start=$(date +%s%N)
	siv_guest adas &
	pid=$!
	siv_guest cockpit
	wait "$pid"
	bench_serve adas first siv:///bench
	vm_run cockpit siv-bench connect --count 1 "$SIV_URL" >/dev/null
	emit boot/1/socket/two-vms s "$(jq -n "$booted + $(seconds_since "$start")")"
	vm_job_stop adas first || true
}

lab_guests()
{
	tls_certificate cockpit
	tls_certificate adas
	bench_serve adas server siv:///bench "tcp:0.0.0.0:$PORT" "tls:0.0.0.0:$TLS_PORT" \
		"unix:$UNIX_PATH" "vsock:$PORT"
	vm_job adas vault -u fusion siv-bench serve siv:///vault
	vm_job_await_line adas vault '^ready$' >/dev/null
	redis_start redis-socket "$REDIS_SIV_PORT" \
		sivshmem-run --rule "$REDIS_RULE; peer cockpit = 192.168.77.1"
	redis_start redis-tcp "$REDIS_TCP_PORT"
	redis_set "$REDIS_SIV_PORT" sivshmem-run --rule "$REDIS_RULE"
	redis_set "$REDIS_TCP_PORT"
}
