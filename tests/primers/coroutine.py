"""A coroutine that waits for another one, and then for one with a time limit."""

import asyncio


async def compute(x, y):
    print(f"computing {x} + {y} ...")
    await asyncio.sleep(0.5)
    return x + y


async def print_sum(x, y):
    total = await compute(x, y)
    print(f"{x} + {y} = {total}")


async def story():
    task = print_sum(1, 2)
    print("nothing has run yet")
    await task

    try:
        await asyncio.wait_for(compute(3, 4), 0.1)
        print("in time")
    except asyncio.TimeoutError:
        print("too late")


asyncio.run(story())
