"""Five tasks that ask a server, at most three of them at a time."""

import asyncio
import sys
import time


async def ask(port, n):
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"%d\n" % n)
    reply = await reader.readline()
    writer.close()
    return reply.decode()


async def fetch(port, index, seats, start):
    async with seats:
        reply, _ = await asyncio.gather(ask(port, 20 + index), asyncio.sleep(1))
        print(f"{index} after {time.monotonic() - start:.1f} s: {reply}", end="")


async def story():
    seats = asyncio.Semaphore(3)
    start = time.monotonic()
    await asyncio.gather(*(fetch(int(sys.argv[1]), index, seats, start) for index in range(5)))


asyncio.run(story())
