#!/usr/bin/python3
"""wire.py CARD CARD DELAY_MS JITTER_MS REORDER DUPLICATE: carries frames between two network cards,
each late; a share of them (0 to 1) later than those behind it, a share of them twice.

A wire for where the kernel has no netem. Ends with SIGTERM; what is under way then is lost."""
import heapq
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 15, 4
ETH_P_ALL = 3
FRAME_MAX = 1 << 17
UNDER_WAY_MAX = 4096        # beyond it frames are lost, as they are in any queue


def card(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # Frames come as the kernel has them, larger than a wire takes and without their sums.
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.bind((name, 0))
    s.setblocking(False)
    return s


def take(source):
    """The frames that have arrived at a card."""
    while True:
        try:
            frame, where = source.recvfrom(FRAME_MAX)
        except BlockingIOError:
            return
        if where[2] != PACKET_OUTGOING:
            yield frame


def put(target, frame):
    try:
        target.send(frame)
    except OSError:
        pass                # lost


def main():
    a, b = card(sys.argv[1]), card(sys.argv[2])
    delay, jitter = float(sys.argv[3]) / 1e3, float(sys.argv[4]) / 1e3
    reorder, duplicate = float(sys.argv[5]), float(sys.argv[6])
    other = {a: b, b: a}
    under_way, number = [], 0
    due = {a: 0.0, b: 0.0}  # when the last frame of this card gets to the other one
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, target, frame = heapq.heappop(under_way)
            put(target, frame)
        wait = max(0.0, under_way[0][0] - now) if under_way else None
        for source in select.select([a, b], [], [], wait)[0]:
            now = time.monotonic()
            for frame in take(source):
                when = now + delay + random.uniform(0, jitter)
                if random.random() < reorder:
                    when += delay
                else:
                    when = due[source] = max(when, due[source])
                for _ in range(2 if random.random() < duplicate else 1):
                    number += 1
                    if len(under_way) < UNDER_WAY_MAX:
                        heapq.heappush(under_way, (when, number, other[source], frame))


if __name__ == "__main__":
    main()
