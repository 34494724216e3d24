; Conforming code segments run at the caller's level; handlers in them do not change it (SDM 3A, 5.8.2, 6.12.1).
%include "cpu.inc"
        START
        DESC SLOT1, 0, 0xfffff, 0x9f, 0xc
        DESC SLOT2, 0, 0xfffff, 0xff, 0xc       ; conforming, level 3
        GATE 0x41, SLOT1, handler, 0xee
        FAULTS GP, SLOT2, call SLOT2:there      ; less privileged than we are
        TO_RING3
        call SLOT1:there
        CHECK_EQ bx, SLOT1 | 3
        mov esi, esp
        int 0x41
        CHECK_EQ bx, SLOT1 | 3
        CHECK_EQ esp, esi
        lea eax, [esi - 12]
        CHECK_EQ ecx, eax
        PASS
there:  mov bx, cs
        retf
handler: mov bx, cs
        mov ecx, esp
        iret
