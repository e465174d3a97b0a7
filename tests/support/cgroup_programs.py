"""What programs of a pod do to its cgroup, as lines for a shell."""

from __future__ import annotations

HOG = """python3 -S -E -c '
held = []
while True:
    held.append(b"x" * (8 << 20))
'"""
MANY = """python3 -S -E -c '
import os, time
for _ in range(12):
    if not os.fork():
        held = b"x" * (12 << 20)
        time.sleep(1000)
time.sleep(1000)
'"""
MANY_SMALL = """python3 -S -E -c '
import os, time
for _ in range(1100):
    if not os.fork():
        time.sleep(1000)
time.sleep(1000)
'"""
THREADS = """python3 -S -E -c '
import threading
end = threading.Event()
started = [threading.Thread(target=end.wait) for _ in range(60)]
for one in started:
    one.start()
end.wait(1)
print(len(started), "threads")
end.set()
'"""
BOMB = """python3 -S -E -c '
import os, time
made = 0
try:
    while True:
        if not os.fork():
            time.sleep(1000)
        made += 1
except OSError:
    open("made", "w").write(str(made))
time.sleep(1000)
'"""
AWAY = """python3 -S -E -c '
import ctypes, os, struct
own = os.open("{}/pods-own", os.O_PATH | os.O_DIRECTORY)
wanted = struct.pack("=11Q", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, own)
pid = ctypes.CDLL(None).syscall(435, ctypes.c_char_p(wanted), ctypes.c_size_t(88))
if pid == 0:
    print("away", flush=True)
    os._exit(0)
print("not permitted" if pid < 0 else os.waitpid(pid, 0), flush=True)
'"""
LATE = "setsid sh -c 'sleep 1; {}' > /dev/null 2>&1 &"
