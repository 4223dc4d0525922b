"""How a green thread is ended by others: it is killed, or its time is up."""

import gevent


def work():
    print("the worker begins")
    try:
        gevent.sleep(3600)
        print("the worker has finished")
    finally:
        print("the worker puts its tools away")


worker = gevent.spawn(work)
gevent.sleep(0.05)
worker.kill()
print("dead:", str(worker.dead).lower())

never = gevent.spawn(work)
never.kill()
print("dead:", str(never.dead).lower())

in_time = False
with gevent.Timeout(0.1, False):
    work()
    in_time = True
print("in time:", str(in_time).lower())
