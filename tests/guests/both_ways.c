/*
 * What a debugger walks through in both directions: calls with a value, recursion, loops that store, a jump out of nested
 * calls, x87 and SSE registers, and interrupts in between. Compiled without optimisation, so that every line is a place.
 */
#pragma GCC optimize("O0")
#include "rt/pc.h"

enum { DEPTH = 6, ROUNDS = 9, TICKS = 4, LEVELS = 4, SAME = 500 };

volatile uint32_t ticks, stored, waited, outcome, level;
volatile uint32_t lanes[4] __attribute__((aligned(16))) = { 1, 2, 3, 4 };
uint32_t other_lanes[4] __attribute__((aligned(16))) = { 1, 2, 3, 5 };
float single = 2.5f;
float quad[4] __attribute__((aligned(16))) = { 1.0f, 2.0f, 3.0f, 4.0f };
void *landing[5];

__attribute__((interrupt)) static void timer_handler(void *frame)
{
    (void)frame;
    ticks++;
    out8(PIC1, 0x20);
}

uint32_t factorial(uint32_t n)
{
    uint32_t smaller;

    if (n < 2)
        return 1;
    smaller = factorial(n - 1);
    return n * smaller;
}

uint32_t squares(uint32_t rounds)
{
    uint32_t total = 0;

    for (uint32_t i = 0; i < rounds; i++) {
        total += i * i;
        stored = total;
    }
    return total;
}

void leap(uint32_t depth)
{
    if (depth == 0)
        __builtin_longjmp(landing, 1);
    leap(depth - 1);
}

uint32_t leaper(void)
{
    if (__builtin_setjmp(landing))
        return 7;
    leap(3);
    return 0;
}

void numbers(void)
{
    __asm__ volatile("fninit");
    __asm__ volatile("flds %0" : : "m"(single));
    __asm__ volatile("fld1");
    __asm__ volatile("faddp");
    __asm__ volatile("fsqrt");
    __asm__ volatile("fldpi");
    __asm__ volatile("fmulp");
    __asm__ volatile("fstps %0" : "=m"(single));
    __asm__ volatile("movaps %0, %%xmm0" : : "m"(quad));
    __asm__ volatile("movaps %xmm0, %xmm7");
    __asm__ volatile("addps %xmm0, %xmm7");
    __asm__ volatile("sqrtps %xmm7, %xmm1");
    __asm__ volatile("mulps %xmm1, %xmm7");
    __asm__ volatile("movaps %%xmm7, %0" : "=m"(quad));
}

uint32_t walk(void)
{
    uint32_t product, total, jumped;

    product = factorial(DEPTH);
    total = squares(ROUNDS);
    jumped = leaper();
    numbers();
    outcome = product + total + jumped;
    return outcome;
}

/* Stores most of which leave what is there, and one that changes the last of four numbers. */
void levels(void)
{
    for (uint32_t i = 0; i < LEVELS * SAME; i++)
        level = i / SAME;
    __asm__ volatile("movaps %1, %%xmm2\n movaps %%xmm2, %0" : "=m"(lanes) : "m"(other_lanes));
}

/* CR0.MP without EM, CR4.OSFXSR and OSXMMEXCPT: the x87 and SSE are there. */
static void use_numbers(void)
{
    uint32_t value;

    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    __asm__ volatile("mov %0, %%cr0" : : "r"((value & ~4u) | 2));
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    __asm__ volatile("mov %0, %%cr4" : : "r"(value | 0x600));
}

void guest_main(uint32_t magic, const uint32_t *info);

void guest_main(uint32_t magic, const uint32_t *info)
{
    (void)magic, (void)info;
    use_numbers();
    set_gate(IRQ_BASE, timer_handler);
    load_idt();
    start_timer(1000);
    walk();
    levels();
    __asm__ volatile("sti");
    while (ticks < TICKS)
        waited++;
    __asm__ volatile("cli");
    finish(outcome == 720 + 204 + 7);
}
