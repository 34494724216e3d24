; LGDT and LIDT of 64-bit code refuse a base that is not canonical; far pointers and selectors are found by RIP (SDM 2A).
%include "cpu.inc"
        START
        TO_LONG
        sgdt [scratch]
        mov rbx, [scratch + 2]
        mov eax, 0x00800000
        shl rax, 24
        mov [scratch + 2], rax
        FAULTS GP, 0, lgdt [scratch]
        FAULTS GP, 0, lidt [rel scratch]
        sgdt [scratch + 16]
        CHECK_EQ rbx, [scratch + 18]
        mov [scratch + 2], rbx
        QUIET lgdt [rel scratch]
        mov word [scratch], TSS_MAIN
        and byte [gdt + TSS_MAIN + 5], 0xfd
        QUIET ltr [rel scratch]
        mov dword [scratch], .there
        mov word [scratch + 4], CODE
        jmp far dword [rel scratch]
        NEVER
.there: ; At privilege level 3 the privilege comes first.
        TO_RING3_64
        FAULTS GP, 0, lgdt [scratch]
        PASS
