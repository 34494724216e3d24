/*
 * A small kernel with a bug.
 *
 * It runs jobs one after the other. A timer interrupt samples what is running, 1000 times a second, and after each job the
 * samples are added up. Now and then all reports are printed. The second time, the kernel crashes. Why is written nowhere
 * in the crash: see README.md for how to find out.
 */
#include <stdint.h>

enum { COM1 = 0x3f8, PIC1 = 0x20, PIC2 = 0xa0, PIT = 0x40, DEBUG_EXIT = 0xf4 };
enum { TICKS_PER_SECOND = 1000, PIT_HZ = 1193182 };
enum { PAGE_FAULT = 14, IRQ_BASE = 32, TIMER_VECTOR = IRQ_BASE, VECTORS = IRQ_BASE + 8 };
enum { CODE = 0x08, DATA = 0x10 };

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

/* ---- Console ---- */

static void put_char(char c)
{
    while (!(in8(COM1 + 5) & 0x20))
        ;
    out8(COM1, (uint8_t)c);
}

static void print(const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            put_char('\r');
        put_char(*text);
    }
}

static void print_number(uint32_t value, uint32_t base, int digits)
{
    char buffer[12];
    int length = 0;

    do {
        buffer[length++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || length < digits);
    while (length)
        put_char(buffer[--length]);
}

static void print_value(const char *name, uint32_t value)
{
    print(name);
    print_number(value, 16, 8);
}

/* ---- What is running, seen by the timer ---- */

struct sample {
    uint32_t tick;
    uint32_t eip;
};

/* Something that wants to be in the report. */
struct report {
    struct report *next;
    void (*print)(void);
};

enum { SAMPLES_MAX = 32 };

static volatile uint32_t ticks;
static volatile uint32_t sample_count;
static uint32_t samples_lost;
static struct sample samples[SAMPLES_MAX];
static struct report *reports;

/* The timer interrupt. */
static void timer_tick(uint32_t eip)
{
    ticks++;
    if (sample_count <= SAMPLES_MAX) {
        samples[sample_count].tick = ticks;
        samples[sample_count].eip = eip;
        sample_count++;
    } else {
        samples_lost++;
    }
}

/* ---- Jobs ---- */

enum { KEYS = 64 };

static uint8_t block[512];
static uint32_t keys[KEYS];
static uint32_t random_state = 2463534242u;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static uint32_t checksum_block(void)
{
    uint32_t a = 1, b = 0;

    for (uint32_t i = 0; i < sizeof block; i++) {
        a = (a + block[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void fill_block(void)
{
    for (uint32_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)next_random();
}

static void sort_keys(void)
{
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = next_random();
    for (uint32_t i = 1; i < KEYS; i++) {
        uint32_t key = keys[i], j = i;
        for (; j > 0 && keys[j - 1] > key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

struct job {
    const char *name;
    void (*step)(void);
    uint32_t ticks;                 /* its share of the time */
    uint32_t steps;                 /* what it got done */
};

static volatile uint32_t last_checksum;

static void checksum_step(void)
{
    fill_block();
    last_checksum = checksum_block();
}

static struct job jobs[] = {
    { "checksum", checksum_step, 10, 0 },
    { "sort", sort_keys, 15, 0 },
    { "checksum", checksum_step, 20, 0 },
    { "sort all", sort_keys, 40, 0 },
    { "checksum", checksum_step, 25, 0 },
    { "sort", sort_keys, 20, 0 },
};

enum { JOBS = sizeof jobs / sizeof jobs[0], ROUNDS = 2 };

static uint32_t samples_in_checksum, samples_in_sort, samples_elsewhere;

/* Adds up the samples since the last call. */
static void drain_samples(void)
{
    for (uint32_t i = 0; i < sample_count; i++) {
        uint32_t eip = samples[i].eip;
        if (eip >= (uint32_t)checksum_block && eip < (uint32_t)sort_keys)
            samples_in_checksum++;
        else if (eip >= (uint32_t)sort_keys && eip < (uint32_t)checksum_step)
            samples_in_sort++;
        else
            samples_elsewhere++;
    }
    sample_count = 0;
}

/* When the present job's time is up. */
static uint32_t job_end;

static void run_job(struct job *job)
{
    job_end += job->ticks;
    while (ticks < job_end) {
        job->step();
        job->steps++;
    }
    drain_samples();
}

/* ---- Reports ---- */

static void print_time(void)
{
    print("  time: ");
    print_number(ticks, 10, 1);
    print(" ms\n");
}

static void print_jobs(void)
{
    print("  jobs:");
    for (uint32_t i = 0; i < JOBS; i++) {
        print(i ? ", " : " ");
        print(jobs[i].name);
        print(jobs[i].steps ? " ran" : " waits");
    }
    print("\n");
}

static struct report time_report = { 0, print_time };
static struct report jobs_report = { 0, print_jobs };

static void add_report(struct report *report)
{
    report->next = reports;
    reports = report;
}

static void print_reports(void)
{
    print("report:\n");
    for (struct report *report = reports; report; report = report->next)
        report->print();
}

/* ---- Interrupts and memory ---- */

struct frame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t vector, error_code;
    uint32_t eip, cs, eflags;
};

static void panic(const struct frame *frame)
{
    uint32_t cr2;

    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    print(frame->vector == PAGE_FAULT ? "PANIC: page fault" : "PANIC: exception");
    print_value(" at ", frame->eip);
    if (frame->vector == PAGE_FAULT)
        print_value(", address ", cr2);
    else
        print_value(", vector ", frame->vector);
    print_value(", error code ", frame->error_code);
    print_value("\n  eax ", frame->eax);
    print_value(" ebx ", frame->ebx);
    print_value(" ecx ", frame->ecx);
    print_value(" edx ", frame->edx);
    print_value("\n  esi ", frame->esi);
    print_value(" edi ", frame->edi);
    print_value(" ebp ", frame->ebp);
    print_value(" eflags ", frame->eflags);
    print("\n");
    out8(DEBUG_EXIT, 1);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* Called from boot.S for every exception and interrupt. */
void interrupt(const struct frame *frame);

void interrupt(const struct frame *frame)
{
    if (frame->vector < IRQ_BASE)
        panic(frame);
    if (frame->vector == TIMER_VECTOR)
        timer_tick(frame->eip);
    out8(PIC1, 0x20);
}

extern const uint32_t interrupt_entries[VECTORS];

struct table_register {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
static uint64_t idt[VECTORS];
static uint32_t page_directory[1024] __attribute__((aligned(4096)));
static uint32_t page_table[1024] __attribute__((aligned(4096)));

static void load_tables(void)
{
    struct table_register gdtr = { sizeof gdt - 1, (uint32_t)gdt };
    struct table_register idtr = { sizeof idt - 1, (uint32_t)idt };

    for (uint32_t i = 0; i < VECTORS; i++) {
        uint32_t entry = interrupt_entries[i];
        if (entry)
            idt[i] = (uint64_t)(entry & 0xffff0000) << 32 | (uint64_t)0x8e00 << 32 | CODE << 16
                     | (entry & 0xffff);
    }
    __asm__ volatile("lgdt %0\n\t"
                     "ljmp %1, $1f\n"
                     "1:\n\t"
                     "movw %w2, %%ds\n\t"
                     "movw %w2, %%es\n\t"
                     "movw %w2, %%fs\n\t"
                     "movw %w2, %%gs\n\t"
                     "movw %w2, %%ss\n\t"
                     "lidt %3"
                     : : "m"(gdtr), "i"(CODE), "r"(DATA), "m"(idtr) : "memory");
}

/* Maps the first 4 MiB one to one, without page 0: a null pointer is to be noticed. */
static void enable_paging(void)
{
    for (uint32_t i = 1; i < 1024; i++)
        page_table[i] = i << 12 | 3;
    page_directory[0] = (uint32_t)page_table | 3;
    __asm__ volatile("mov %0, %%cr3\n\t"
                     "mov %%cr0, %%eax\n\t"
                     "or $0x80010000, %%eax\n\t"
                     "mov %%eax, %%cr0"
                     : : "r"(page_directory) : "eax", "memory");
}

static void start_timer(void)
{
    uint16_t divisor = PIT_HZ / TICKS_PER_SECOND;

    out8(PIC1, 0x11), out8(PIC1 + 1, IRQ_BASE), out8(PIC1 + 1, 4), out8(PIC1 + 1, 1);
    out8(PIC2, 0x11), out8(PIC2 + 1, IRQ_BASE + 8), out8(PIC2 + 1, 2), out8(PIC2 + 1, 1);
    out8(PIC1 + 1, 0xfe), out8(PIC2 + 1, 0xff);
    out8(PIT + 3, 0x34);
    out8(PIT, (uint8_t)divisor), out8(PIT, (uint8_t)(divisor >> 8));
    __asm__ volatile("sti");
}

static void start_console(void)
{
    out8(COM1 + 1, 0);
    out8(COM1 + 3, 0x80), out8(COM1, 1), out8(COM1 + 1, 0);
    out8(COM1 + 3, 0x03), out8(COM1 + 2, 0x07), out8(COM1 + 4, 0x03);
}

void kernel_main(void);

void kernel_main(void)
{
    start_console();
    load_tables();
    enable_paging();
    print("clobber: a kernel with a bug\n");
    add_report(&jobs_report);
    add_report(&time_report);
    print_reports();
    start_timer();
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        print("round ");
        print_number(round, 10, 1);
        print("\n");
        for (uint32_t i = 0; i < JOBS; i++)
            run_job(&jobs[i]);
    }
    print_reports();
    print("done, and no bug was seen\n");
    out8(DEBUG_EXIT, 0);
    for (;;)
        __asm__ volatile("cli; hlt");
}
