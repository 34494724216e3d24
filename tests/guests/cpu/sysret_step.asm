; SYSRET that sets TF traps before the first instruction of the program, as if the program's SYSCALL had just ended (AMD APM 3).
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
        MSR 0xc0000084, F_TF, 0
        SET hook, once
        TO_RING3_64
        SET got_count, 0
        pushfq
        or qword [rsp], F_TF
        popfq
        syscall
after:  nop
        NOTED got_count, 1
        NOTED got_ip, after
        PASS
entry:  o64 sysret
once:   and dword [rbp + L_RIP + 16], ~F_TF
        ret
