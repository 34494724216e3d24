/* The PC as far as the guests written in C need it. */
#ifndef PC_H
#define PC_H

#include <stdint.h>

enum { COM1 = 0x3f8, PIC1 = 0x20, PIC2 = 0xa0, PIT = 0x40, DEBUG_EXIT = 0xf4 };
enum { IRQ_BASE = 32, PIT_HZ = 1193182 };
/* What guests write to isa-debug-exit; QEMU's status is 33 and 35. */
enum { EXIT_PASS = 0x10, EXIT_FAIL = 0x11 };

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void put_char(char c)
{
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, (uint8_t)c);
}

static inline void print(const char *text)
{
    while (*text)
        put_char(*text++);
}

static inline void print_decimal(uint32_t value)
{
    char digits[10];
    int length = 0;

    do
        digits[length++] = (char)('0' + value % 10);
    while (value /= 10);
    while (length)
        put_char(digits[--length]);
}

/* Ends the run: PASS or FAIL on the console and in the exit status. */
static inline __attribute__((noreturn)) void finish(int passed)
{
    print(passed ? "PASS\n" : "FAIL\n");
    out8(DEBUG_EXIT, passed ? EXIT_PASS : EXIT_FAIL);
    for (;;)
        __asm__ volatile("cli; hlt");
}

struct idt_register {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

static uint64_t idt[256];

static inline void set_gate(uint8_t vector, void *handler)
{
    uint32_t address = (uint32_t)handler;
    idt[vector] = (uint64_t)(address & 0xffff0000) << 32 | 0x00008e0000080000 | (address & 0xffff);
}

static inline void load_idt(void)
{
    struct idt_register idtr = { sizeof idt - 1, (uint32_t)idt };
    __asm__ volatile("lidt %0" : : "m"(idtr));
}

/* Interrupt controllers to vectors 32 to 47, only the timer let through; PIT channel 0 at `hz`. */
static inline void start_timer(uint32_t hz)
{
    uint32_t divisor = PIT_HZ / hz;

    out8(PIC1, 0x11), out8(PIC1 + 1, IRQ_BASE), out8(PIC1 + 1, 4), out8(PIC1 + 1, 1);
    out8(PIC2, 0x11), out8(PIC2 + 1, IRQ_BASE + 8), out8(PIC2 + 1, 2), out8(PIC2 + 1, 1);
    out8(PIC1 + 1, 0xfe), out8(PIC2 + 1, 0xff);
    out8(PIT + 3, 0x34);
    out8(PIT, (uint8_t)divisor), out8(PIT, (uint8_t)(divisor >> 8));
}

/* The number behind `name` ("name=") in the Multiboot command line, or `otherwise`. */
static inline uint32_t option(const uint32_t *info, const char *name, uint32_t otherwise)
{
    if (!(info[0] & 1 << 2))
        return otherwise;
    for (const char *text = (const char *)info[4]; *text; text++) {
        const char *at = text, *wanted = name;
        while (*wanted && *at == *wanted)
            at++, wanted++;
        if (!*wanted) {
            uint32_t value = 0;
            for (; *at >= '0' && *at <= '9'; at++)
                value = value * 10 + (uint32_t)(*at - '0');
            return value;
        }
    }
    return otherwise;
}

#endif
