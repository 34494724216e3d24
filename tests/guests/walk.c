/*
 * Places for a debugger to walk over backwards: recursion, a long call, a software interrupt, a jump out of nested calls, a
 * loop. A timer interrupts all of it every 12,500 steps.
 */
#include "rt/pc.h"

#define KEPT __attribute__((noinline))

enum { MAGIC = 0x2badb002, SYSTEM_CALL = 0x80, TIMER_HZ = 10000, DEPTH = 5 };

volatile uint32_t ticks;
volatile uint32_t calls;
volatile uint32_t depth;
volatile uint32_t total;

/* EBX, ESI, EDI, EBP, ESP, EIP */
uint32_t saved[6];

/* Returns 0, and once more what jump_back() is given. */
uint32_t save_place(void);
void jump_back(uint32_t value);

__asm__(".text\n"
        ".globl save_place, jump_back\n"
        "save_place:\n"
        "    movl %ebx, saved\n"
        "    movl %esi, saved+4\n"
        "    movl %edi, saved+8\n"
        "    movl %ebp, saved+12\n"
        "    leal 4(%esp), %eax\n"
        "    movl %eax, saved+16\n"
        "    movl (%esp), %eax\n"
        "    movl %eax, saved+20\n"
        "    xorl %eax, %eax\n"
        "    ret\n"
        "jump_back:\n"
        "    movl 4(%esp), %eax\n"
        "    movl saved, %ebx\n"
        "    movl saved+4, %esi\n"
        "    movl saved+8, %edi\n"
        "    movl saved+12, %ebp\n"
        "    movl saved+16, %esp\n"
        "    jmp *saved+20\n");

__attribute__((interrupt)) static void timer_handler(void *frame)
{
    (void)frame;
    ticks++;
    out8(PIC1, 0x20);
}

__attribute__((interrupt)) static void call_handler(void *frame)
{
    (void)frame;
    calls++;
}

KEPT uint32_t fibonacci(uint32_t n)
{
    if (n < 2)
        return n;
    uint32_t before = fibonacci(n - 1);
    uint32_t last = fibonacci(n - 2);
    return before + last;
}

/* Three steps for each round. */
KEPT void long_call(uint32_t rounds)
{
    while (rounds--)
        __asm__ volatile("" : "+r"(rounds));
    total++;
}

KEPT void descend(uint32_t level)
{
    depth = level;
    if (level < DEPTH)
        descend(level + 1);
    jump_back(level);
    depth = 0;
}

KEPT uint32_t jump_out(void)
{
    uint32_t came_back = save_place();
    if (came_back == 0)
        descend(1);
    total += came_back;
    return came_back;
}

KEPT uint32_t add_up(uint32_t n)
{
    uint32_t sum = 0;
    for (uint32_t i = 1; i <= n; i++) {
        sum += i;
        total = sum;
    }
    return sum;
}

void guest_main(uint32_t magic, const uint32_t *info);

void guest_main(uint32_t magic, const uint32_t *info)
{
    if (magic != MAGIC)
        finish(0);
    uint32_t rounds = option(info, "rounds=", 20000);
    set_gate(IRQ_BASE, timer_handler);
    set_gate(SYSTEM_CALL, call_handler);
    load_idt();
    start_timer(TIMER_HZ);
    __asm__ volatile("sti");
    uint32_t nth = fibonacci(15);
    long_call(rounds);
    __asm__ volatile("int %0" : : "i"(SYSTEM_CALL));
    uint32_t came_back = jump_out();
    uint32_t sum = add_up(10);
    __asm__ volatile("cli");
    finish(nth == 610 && calls == 1 && came_back == DEPTH && sum == 55 && ticks > 1);
}
