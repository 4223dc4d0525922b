"""The states of a task, from its start to its end."""

import asyncio
import inspect

NAMES = {"CORO_CREATED": "pending", "CORO_RUNNING": "running", "CORO_SUSPENDED": "waiting"}


def show(task):
    state = "cancelled" if task.cancelled() else "done"
    if not task.done():
        state = NAMES[inspect.getcoroutinestate(task.get_coro())]
    print(f"{task.get_name()}: {state}")


async def nap(seconds):
    show(asyncio.current_task())
    await asyncio.sleep(seconds)


def start(name, seconds):
    task = asyncio.create_task(nap(seconds), name=name)
    task.add_done_callback(lambda task: print("callback of", task.get_name()))
    show(task)
    return task


async def watch():
    brief = start("brief", 0.4)
    lengthy = start("lengthy", 3600)
    await asyncio.sleep(0.1)
    show(brief)
    show(lengthy)
    await asyncio.sleep(0.6)
    show(brief)
    show(lengthy)
    lengthy.cancel()
    show(lengthy)
    await asyncio.sleep(0.1)
    show(lengthy)


asyncio.run(watch())
