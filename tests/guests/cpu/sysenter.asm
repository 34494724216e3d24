; SYSENTER and SYSEXIT: selectors from IA32_SYSENTER_CS, flat segments, VM and IF cleared (SDM 2B).
%include "cpu.inc"
        START
        mov ecx, 0x174
        xor eax, eax
        xor edx, edx
        wrmsr
        TO_RING3
        FAULTS GP, 0, sysenter
        FAULTS GP, 0, sysexit
        TO_RING0
        FAULTS GP, 0, sysexit
        mov ecx, 0x174
        mov eax, CODE
        wrmsr
        mov ecx, 0x175
        mov eax, ist1_end
        wrmsr
        mov ecx, 0x176
        mov eax, entry
        wrmsr
        rdmsr
        CHECK_EQ eax, entry
        sti
        TO_RING3
        mov esi, esp
        stc
        sysenter
        NEVER
entry:  mov ax, cs
        CHECK_EQ ax, CODE
        mov ax, ss
        CHECK_EQ ax, DATA
        CHECK_EQ esp, ist1_end
        pushfd
        pop eax
        test eax, F_IF
        CHECK z
        mov edx, user
        mov ecx, esi
        sysexit
        NEVER
user:   CHECK_EQ esp, esi
        mov ax, cs
        CHECK_EQ ax, USER_CODE
        mov ax, ss
        CHECK_EQ ax, USER_DATA
        FAULTS GP, 0, cli
        PASS
