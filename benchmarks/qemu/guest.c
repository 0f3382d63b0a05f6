/* The guest that against_qemu.py boots: no operating system, so that nothing else writes memory.
 *
 * It fills its memory with distinct pages, writes `rate` pages a second (8 words at a random place of a
 * page drawn with replacement, uniform over the first `ws` MiB), and says so on port 0xe9: a dot every
 * 2 ms, and every half second "W<writes done, hexadecimal>\n". In between it halts.
 *
 * Multiboot starts it in 32-bit mode; it goes on in 64-bit mode with 8 GiB mapped one to one.
 * Time is the TSC, calibrated against a second of the real-time clock, because timer
 * interrupts are lost when the machine is busy. Command line: "rate=N ws=MIB mib=MIB".
 */
typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;

#define PAGE_WORDS 512
#define FIRST_BYTE (16UL << 20) /* below it: firmware and this program */
#define LOW_MIB_MAX 3584UL      /* QEMU's "pc" puts memory beyond it above 4 GiB, */
#define LOW_MIB_SPLIT 3072UL    /* and then all beyond this */
#define BEAT_US 2000
#define REPORT_US 500000
#define OWED_US_MAX 100000
#define WRITES_AT_ONCE 128

asm(".section .multiboot,\"a\"\n"
    ".balign 4\n.long 0x1BADB002, 0, -0x1BADB002\n"
    ".text\n.code32\n.globl start\nstart:\n"
    "  cli\n  movl $stack_top, %esp\n  movl %ebx, %edi\n"
    "  movl $pd, %ecx\n  xorl %eax, %eax\n"
    "1: movl %eax, %edx\n  shll $21, %edx\n  orl $0x83, %edx\n  movl %edx, (%ecx)\n"
    "  movl %eax, %edx\n  shrl $11, %edx\n  movl %edx, 4(%ecx)\n"
    "  addl $8, %ecx\n  incl %eax\n  cmpl $4096, %eax\n  jne 1b\n"
    "  movl $pdpt, %ecx\n  movl $pd, %eax\n  orl $3, %eax\n  movl $8, %edx\n"
    "2: movl %eax, (%ecx)\n  addl $4096, %eax\n  addl $8, %ecx\n  decl %edx\n  jne 2b\n"
    "  movl $pdpt, %eax\n  orl $3, %eax\n  movl %eax, pml4\n"
    "  movl $pml4, %eax\n  movl %eax, %cr3\n"
    "  movl %cr4, %eax\n  orl $0x20, %eax\n  movl %eax, %cr4\n"
    "  movl $0xC0000080, %ecx\n  rdmsr\n  orl $0x100, %eax\n  wrmsr\n"
    "  movl %cr0, %eax\n  orl $0x80000000, %eax\n  movl %eax, %cr0\n"
    "  lgdt gdt_pointer\n  ljmp $8, $long_mode\n"
    ".code64\nlong_mode:\n"
    "  movw $16, %ax\n  movw %ax, %ds\n  movw %ax, %es\n  movw %ax, %ss\n"
    "  movq $stack_top, %rsp\n  movl %edi, %edi\n  call run\n"
    "tick:\n  pushq %rax\n  movb $0x20, %al\n  outb %al, $0x20\n  popq %rax\n  iretq\n"
    ".data\n.balign 16\ngdt: .quad 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF\n"
    "gdt_pointer: .word 23\n  .long gdt\n"
    ".bss\n.balign 4096\npml4: .skip 4096\npdpt: .skip 4096\npd: .skip 32768\n"
    ".skip 16384\nstack_top:\n.text\n");

extern void tick(void);

static struct {
    unsigned short low, selector, flags, middle;
    u32 high, reserved;
} idt[33];

static inline void out8(unsigned short port, u8 value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 in8(unsigned short port) {
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u64 tsc(void) {
    u32 low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

/* SplitMix64's finaliser, as the project's own guests use. */
static inline u64 mix(u64 word) {
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9UL;
    word = (word ^ word >> 27) * 0x94D049BB133111EBUL;
    return word ^ word >> 31;
}

static u64 number(const char *line, const char *name) {
    for (; *line; line++) {
        const char *a = line, *b = name;
        while (*b && *a == *b) a++, b++;
        if (!*b) {
            u64 value = 0;
            while (*a >= '0' && *a <= '9') value = value * 10 + (u64)(*a++ - '0');
            return value;
        }
    }
    return 0;
}

static u8 second(void) {
    out8(0x70, 0);
    return in8(0x71);
}

static u64 ticks_per_us(void) {
    u8 now = second();
    while (second() == now) {}
    u64 began = tsc();
    now = second();
    while (second() == now) {}
    return (tsc() - began) / 1000000;
}

static void start_timer(void) {
    u64 at = (u64)tick;
    idt[32].low = (unsigned short)at;
    idt[32].selector = 8;
    idt[32].flags = 0x8E00;
    idt[32].middle = (unsigned short)(at >> 16);
    struct {
        unsigned short size;
        u64 base;
    } __attribute__((packed)) pointer = {sizeof idt - 1, (u64)idt};
    asm volatile("lidt %0" : : "m"(pointer));
    out8(0x20, 0x11), out8(0x21, 32), out8(0x21, 4), out8(0x21, 1), out8(0x21, 0xFE);
    out8(0xA1, 0xFF);
    out8(0x43, 0x34), out8(0x40, 1193 & 0xFF), out8(0x40, 1193 >> 8); /* 1 kHz */
    asm volatile("sti");
}

static void fill(u64 from, u64 to) {
    for (u64 *word = (u64 *)from; word < (u64 *)to; word += PAGE_WORDS) {
        u64 own = mix((u64)word);
        for (int i = 0; i < PAGE_WORDS; i++) word[i] = own ^ (u64)i * 0x9E3779B97F4A7C15UL;
    }
}

static void report(u64 done) {
    out8(0xE9, 'W');
    for (int shift = 60; shift >= 0; shift -= 4) out8(0xE9, "0123456789abcdef"[done >> shift & 15]);
    out8(0xE9, '\n');
}

void run(u64 info) {
    const char *line = (const char *)(u64)((u32 *)info)[4];
    u64 rate = number(line, "rate="), pages = number(line, "ws=") << 8, mib = number(line, "mib=");
    u64 low = mib > LOW_MIB_MAX ? LOW_MIB_SPLIT : mib;
    fill(FIRST_BYTE, (low << 20) - (1 << 20)); /* firmware tables lie at the top */
    if (mib > low) fill(4UL << 30, (4UL << 30) + ((mib - low) << 20));
    u64 per_us = ticks_per_us();
    start_timer();
    u64 began = tsc(), done = 0, given_up = 0, beat = 0, said = 0;
    for (;;) {
        u64 us = (tsc() - began) / per_us;
        if (us >= beat) {
            out8(0xE9, '.');
            beat = us + BEAT_US;
        }
        if (us >= said) {
            report(done);
            said = us + REPORT_US;
        }
        /* What a stopped guest could not write is not made up for. */
        u64 due = us * rate / 1000000 - given_up, most = rate * OWED_US_MAX / 1000000 + 1;
        if (due > done + most) given_up += due - done - most, due = done + most;
        if (due <= done) {
            asm volatile("hlt");
            continue;
        }
        for (int i = 0; i < WRITES_AT_ONCE && done < due; i++, done++) {
            u64 drawn = mix(done * 0x9E3779B97F4A7C15UL + 1), place = mix(drawn);
            u64 *page = (u64 *)(FIRST_BYTE + ((drawn >> 32) * pages >> 32 << 12));
            for (int word = 0; word < 8; word++) page[(place + (u64)word) % PAGE_WORDS] = place + (u64)word;
        }
    }
}
