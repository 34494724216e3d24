; DR4 and DR5 are DR6 and DR7, unless CR4.DE makes them undefined; fixed bits (SDM 3A, 17.2.2, figure 17-1).
%include "cpu.inc"
        START
        mov eax, 0
        mov dr4, eax
        mov eax, dr6
        CHECK_EQ eax, 0xffff0ff0
        mov eax, dr4
        CHECK_EQ eax, 0xffff0ff0
        mov eax, 0
        mov dr5, eax
        mov eax, dr7
        CHECK_EQ eax, 0x400
        mov eax, dr5
        CHECK_EQ eax, 0x400
        mov eax, cr4
        or eax, 8
        mov cr4, eax
        FAULTS UD, 0, mov eax, dr4
        FAULTS UD, 0, mov dr5, eax
        PASS
