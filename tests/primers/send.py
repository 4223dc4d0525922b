"""A producer and two consumers: values can also go into a generator."""


def consumer(name):
    print(name, "sits down")
    eaten = 0
    while True:
        bun = yield eaten
        print(name, "eats a bun with", bun)
        eaten += 1


ann = consumer("Ann")
ben = consumer("Ben")
next(ann)
next(ben)
for filling in "plums", "cream", "nothing":
    print("two buns with", filling)
    eaten = ann.send(filling) + ben.send(filling)
    print(eaten, "eaten")
