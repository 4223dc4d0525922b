"""Waits for all of three tasks, for the first, for each; and one may fail."""

import asyncio


async def nap(name, seconds):
    await asyncio.sleep(seconds)
    print(name, "ends")
    return name


async def fail(seconds):
    await asyncio.sleep(seconds)
    raise RuntimeError("I have failed")


async def story():
    print("all, in the order in which they were named:")
    print(*await asyncio.gather(nap("a", 0.3), nap("b", 0.6), nap("c", 0.001)))

    print("the first; the others are cancelled:")
    tasks = [asyncio.create_task(nap(*one)) for one in (("a", 0.6), ("b", 0.1), ("c", 0.9))]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    print("number", tasks.index(done.pop()))

    print("each as it ends:")
    for task in asyncio.as_completed([nap("a", 0.6), nap("b", 0.9), nap("c", 0.3)]):
        print("got", await task)

    print("one fails; the others are cancelled:")
    try:
        async with asyncio.TaskGroup() as group:
            for task in nap("a", 3600), fail(0.1), nap("c", 3600):
                group.create_task(task)
    except* RuntimeError:
        print("not all have ended well")


asyncio.run(story())
