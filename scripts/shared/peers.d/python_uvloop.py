#!/usr/bin/python3 -B
"""Python with a coroutine for each client, on uvloop: the very program of python_asyncio.py, on a loop that is written in
C. Stands for: what a faster loop is worth."""

import uvloop

import python_asyncio

uvloop.install()
python_asyncio.asyncio.run(python_asyncio.main())
