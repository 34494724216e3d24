; What only level 0 may do is #GP(0) at level 3, and has no effect (SDM 3A, 5.9).
%include "cpu.inc"
        START
        TO_RING3
        FAULTS GP, 0, mov eax, cr0
        FAULTS GP, 0, mov cr0, eax
        FAULTS GP, 0, mov eax, cr2
        FAULTS GP, 0, mov cr3, eax
        FAULTS GP, 0, mov eax, cr4
        FAULTS GP, 0, mov eax, dr0
        FAULTS GP, 0, mov dr7, eax
        FAULTS GP, 0, clts
        FAULTS GP, 0, hlt
        FAULTS GP, 0, lgdt [gdtr]
        FAULTS GP, 0, lidt [idtr]
        FAULTS GP, 0, lldt ax
        FAULTS GP, 0, ltr ax
        FAULTS GP, 0, lmsw ax
        FAULTS GP, 0, invd
        FAULTS GP, 0, wbinvd
        FAULTS GP, 0, invlpg [eax]
        mov ecx, 0x10
        FAULTS GP, 0, rdmsr
        FAULTS GP, 0, wrmsr
        ; These anyone may.
        QUIET smsw ax
        QUIET sgdt [scratch]
        QUIET sidt [scratch]
        QUIET str ax
        QUIET sldt ax
        QUIET rdtsc
        QUIET cpuid
        TO_RING0
        mov eax, cr4
        or eax, 4                       ; TSD
        mov cr4, eax
        QUIET rdtsc
        TO_RING3
        FAULTS GP, 0, rdtsc
        TO_RING0
        PASS
