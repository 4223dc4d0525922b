"""How to learn of a click: look all the time, look now and then, or be called."""

import threading
import time


def watch(way, wait):
    clicked = threading.Event()
    user = threading.Timer(0.3, clicked.set)
    user.start()
    start = time.process_time()
    looks = wait(clicked)
    cpu = time.process_time() - start
    print(f"{way}: looked {looks} times in vain, {cpu:.2f} s of CPU")
    user.join()


def all_the_time(clicked):
    looks = 0
    while not clicked.is_set():
        looks += 1
    return looks


def now_and_then(clicked):
    looks = 0
    while not clicked.is_set():
        looks += 1
        time.sleep(0.1)
    return looks


def be_called(clicked):
    clicked.wait()
    return 0


watch("all the time", all_the_time)
watch("now and then", now_and_then)
watch("be called", be_called)
