#!/bin/busybox sh
# shellcheck shell=sh
# First process of a guest for tests: address=ADDRESS/LENGTH and gateway=ADDRESS of the kernel's command line on eth0, what
# cloud-init would read from its seed at http://ADDRESS/, and the power button heeded. http://ADDRESS/cgi-bin/sessions?N makes
# N what http://ADDRESS/sessions says; with serves=no nobody answers.
/bin/busybox mkdir -p /proc /sys /dev /seed /www/cgi-bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module.ko"; done </modules/order
echo ok >/www/health
echo 0 >/www/sessions
cat >/www/cgi-bin/sessions <<'END'
#!/bin/busybox sh
echo "$QUERY_STRING" >/www/sessions
printf 'Content-Type: text/plain\r\n\r\nok\n'
END
chmod +x /www/cgi-bin/sessions
for device in /sys/class/net/eth0 /dev/input/event0; do
  tries=0
  while [ ! -e $device ] && [ $tries -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
done
acpid -d &
if [ -e /dev/vda ] && mount -t vfat -o ro /dev/vda /seed; then cp /seed/* /www/; fi
address=$(sed -n 's/.*address=\([^ ]*\).*/\1/p' /proc/cmdline)
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
gateway=$(sed -n 's/.*gateway=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ -n "$gateway" ]; then ip route add default via "$gateway"; fi
if ! grep -q serves=no /proc/cmdline; then httpd -p 80 -h /www; fi
echo "serving after $(cut -d' ' -f1 /proc/uptime) s"
while :; do sleep 3600; done
