#!/usr/bin/python3 -B
"""Python with a coroutine for each client, on asyncio's own loop. Stands for: what most new servers in Python are."""

import asyncio

from protocol import Requests, reply, start


async def handle(reader, writer):
    requests = Requests()
    try:
        while not requests.ended:
            for request in requests.received(await reader.read(4096)):
                writer.write(reply(request))
                await writer.drain()
    except ConnectionError:
        pass  # the client has gone
    finally:
        writer.close()


async def main():
    async with await asyncio.start_server(handle, sock=start(), backlog=4096) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
