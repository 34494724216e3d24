; LOOPE and LOOPNE leave the flags as they are, also when their count ends (SDM 2A, LOOP).
%include "cpu.inc"
        START
%macro ENDS 2
        mov ecx, 1
        mov al, 5
        add al, 0x7f                    ; SF, OF, AF, PF; not ZF, CF
        %1 %%out
%%out:  pushfd
        pop ebx
        and ebx, 0x8d5
        CHECK_EQ ebx, 0x894
        mov ecx, 1
        xor eax, eax
        cmp eax, 0                      ; ZF, PF
        %1 %%out2
%%out2: CHECK z
        CHECK nc
        mov ecx, 3
%%again:
        cmp eax, %2
        %1 %%again
        CHECK ecxz
%endmacro
        ENDS loopne, 1
        CHECK ne
        CHECK c
        ENDS loope, 0
        CHECK e
        ; What a wait that gives up does next.
        mov ecx, 2
.wait:  mov al, 1
        test al, 8
        loopz .wait
        CHECK z
        PASS
