"""SimPy: `simpy_engine.py callbacks|processes hold N K WARMUP` or `simpy_engine.py processes mm1 CUSTOMERS`.

Python's own random numbers, so the path is not that of the other engines.
"""

import random
import sys
import time

import simpy


def hold(style: str, pending: int, events: int, warmup: int) -> None:
    draw = random.Random(42).expovariate
    environment = simpy.Environment()

    def fire(_event: simpy.Event) -> None:
        environment.timeout(draw(1.0)).callbacks.append(fire)

    def process():
        while True:
            yield environment.timeout(draw(1.0))

    for _ in range(pending):
        if style == "callbacks":
            environment.timeout(draw(1.0)).callbacks.append(fire)
        else:
            environment.process(process())
    if style == "processes":
        warmup += pending
    for _ in range(warmup):
        environment.step()
    begin = time.process_time()
    for _ in range(events):
        environment.step()
    seconds = time.process_time() - begin
    print(f"SimPy {style},hold,{pending},{events},{seconds:.6f},{environment.now:.6f}")


def mm1(customers: int) -> None:
    begin = time.process_time()
    draw = random.Random(7).expovariate
    environment = simpy.Environment()
    server = simpy.Resource(environment, capacity=1)
    waited = 0.0

    def customer():
        nonlocal waited
        arrived = environment.now
        with server.request() as request:
            yield request
            waited += environment.now - arrived
            yield environment.timeout(draw(1.0))

    def source():
        for _ in range(customers):
            yield environment.timeout(draw(0.8))
            environment.process(customer())

    environment.process(source())
    environment.run()
    print(f"SimPy processes,mm1,1,{customers},{time.process_time() - begin:.6f},{waited / customers:.6f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [style, "hold", pending, events, warmup]:
            hold(style, int(pending), int(events), int(warmup))
        case [_, "mm1", customers]:
            mm1(int(customers))
        case _:
            sys.exit(2)
