/*
 * A long run with few landmarks, for breakpoints, watchpoints and going back.
 *
 * `iterations=N` on the command line says how long it runs: 26 instructions an iteration, as GCC 12 compiles it. The hot
 * loop and what it calls are on one page of code. On another page are a function that is called four times in the whole
 * run and one that is never called. `rare_variable` is written at four far-apart points, `hot_variable` in every
 * iteration. A timer interrupts it all 100 times a second.
 */
#include "rt/pc.h"

enum { MAGIC = 0x2badb002, ITERATIONS = 100000, LANDMARKS = 4 };

#define ON_HOT_PAGE __attribute__((noinline, section(".text.hot")))
#define ON_RARE_PAGE __attribute__((noinline, section(".text.rare")))

volatile uint32_t hot_variable;
volatile uint32_t rare_variable;
volatile uint32_t rare_calls;
volatile uint32_t ticks;

ON_RARE_PAGE __attribute__((aligned(4096))) void rare_function(uint32_t iteration)
{
    rare_calls++;
    rare_variable = iteration;
}

ON_RARE_PAGE void never_called(void)
{
    rare_variable = 0xdead;
}

ON_HOT_PAGE __attribute__((aligned(4096))) uint32_t mix(uint32_t x)
{
    x ^= x << 13;
    x ^= x >> 17;
    return x ^ x << 5;
}

ON_HOT_PAGE uint32_t accumulate(uint32_t sum, uint32_t x)
{
    return (sum << 1 | sum >> 31) + x;
}

/* A quarter of the run. */
ON_HOT_PAGE uint32_t hot_loop(uint32_t sum, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        sum = accumulate(sum, mix(i + 1));
        hot_variable = sum;
    }
    return sum;
}

__attribute__((interrupt)) static void timer_handler(void *frame)
{
    (void)frame;
    ticks++;
    out8(PIC1, 0x20);
}

void guest_main(uint32_t magic, const uint32_t *info);

void guest_main(uint32_t magic, const uint32_t *info)
{
    if (magic != MAGIC)
        finish(0);
    uint32_t iterations = option(info, "iterations=", ITERATIONS);
    uint32_t quarter = iterations / LANDMARKS, sum = 0;

    set_gate(IRQ_BASE, timer_handler);
    load_idt();
    start_timer(100);
    print("loop: ");
    print_decimal(iterations);
    print(" iterations\n");
    __asm__ volatile("sti");
    for (uint32_t i = 0; i < LANDMARKS; i++) {
        uint32_t end = i == LANDMARKS - 1 ? iterations : (i + 1) * quarter;
        sum = hot_loop(sum, i * quarter, end);
        rare_function(end);
    }
    __asm__ volatile("cli");
    print("sum ");
    print_decimal(sum);
    print("\n");
    finish(rare_calls == LANDMARKS && rare_variable == iterations && hot_variable == sum);
}
