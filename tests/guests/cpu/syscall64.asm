; SYSCALL and SYSRET to 64-bit code, FMASK, SWAPGS; EFER.SCE (AMD APM 3; SDM 2B).
%include "cpu.inc"
        START
        TO_LONG
%macro MSR 3
        mov ecx, %1
        mov eax, %2
        mov edx, %3
        wrmsr
%endmacro
        MSR 0xc0000081, 0, 0x18 << 16 | CODE
        MSR 0xc0000082, entry, 0
        MSR 0xc0000084, F_DF | F_IF, 0
        MSR 0xc0000101, 0x1000, 0
        MSR 0xc0000102, 0x2000, 0
        TO_RING3_64
        FAULTS GP, 0, swapgs
        mov r12, rsp
        std
        stc
        syscall
after:  cld
        CHECK_EQ rcx, after
        CHECK_EQ rsp, r12
        mov ax, cs
        CHECK_EQ ax, USER_CODE64
        mov ax, ss
        CHECK_EQ ax, USER_DATA
        bt r11, 10
        CHECK c
        int 0x30
        mov ecx, 0xc0000101
        rdmsr
        CHECK_EQ eax, 0x2000
        ; Without SCE both are undefined.
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~1
        wrmsr
        FAULTS UD, 0, syscall
        FAULTS UD, 0, o64 sysret
        PASS
entry:  mov ax, cs
        CHECK_EQ ax, CODE
        mov ax, ss
        CHECK_EQ ax, DATA
        CHECK_EQ rsp, r12
        pushfq
        pop rax
        test eax, F_DF
        CHECK z
        swapgs
        o64 sysret
