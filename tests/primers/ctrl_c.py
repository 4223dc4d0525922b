"""Ctrl-C cancels the tasks that wait; each of them cleans up, then the program ends."""

import asyncio
import signal

pending = set()


async def nap(name, seconds):
    pending.add(name)
    print(name, "begins")
    try:
        await asyncio.sleep(seconds)
        print(name, "is done")
    except asyncio.CancelledError:
        print(name, "is cancelled")
    pending.remove(name)


async def story():
    tasks = [asyncio.create_task(nap(*one)) for one in (("short", 1), ("medium", 100), ("long", 200))]

    def stop():
        for name in sorted(pending):
            print(name, "is pending")
        for task in tasks:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
    await asyncio.gather(*tasks)


asyncio.run(story())
print(len(pending), "are left")
