"""A generator: a function that stops at each yield and goes on when asked."""


def countdown(n):
    print("from", n)
    while n > 0:
        yield n
        n -= 1


numbers = countdown(3)
print("nothing has run yet")
try:
    while True:
        print(next(numbers))
except StopIteration:
    print("and then nothing")

for number in countdown(2):
    print(number)
