; REP INS and OUTS at level 3: permission is asked for before memory is touched, and a fault in the middle leaves the registers where it
; happened (SDM 1, 18.5; SDM 2B, REP).
%include "cpu.inc"
        START
        PAGING
        MAP PAGE2, 0
        ; A port that is not allowed leaves memory alone, even memory that is not there.
        TO_RING3
        mov dword [scratch], 0x55555555
        mov dx, 0x80
        mov edi, scratch
        FAULTS GP, 0, insb
        CHECK_EQ dword [scratch], 0x55555555
        mov ecx, 3
        FAULTS GP, 0, rep insb
        CHECK_EQ dword [scratch], 0x55555555
        CHECK_EQ ecx, 3
        mov edi, PAGE2
        FAULTS GP, 0, rep insd
        mov esi, PAGE2
        FAULTS GP, 0, rep outsb
        ; Nothing to do is not refused.
        xor ecx, ecx
        QUIET rep insb
        QUIET rep outsd
        TO_RING0
        ; Allowed: to the end of the page.
        and byte [io_bitmap + 0x80 / 8], 0xf0
        TO_RING3
        mov dx, 0x80
        mov edi, PAGE2 - 3
        mov ecx, 10
        FAULTS PF, 6, rep insb
        NOTED got_cr2, PAGE2
        CHECK_EQ ecx, 7
        CHECK_EQ edi, PAGE2
        mov edi, PAGE2 - 6
        mov ecx, 10
        FAULTS PF, 6, rep insd
        NOTED got_cr2, PAGE2
        CHECK_EQ ecx, 9
        CHECK_EQ edi, PAGE2 - 2
        mov esi, PAGE2 - 4
        mov ecx, 10
        FAULTS PF, 4, rep outsw
        NOTED got_cr2, PAGE2
        CHECK_EQ ecx, 8
        CHECK_EQ esi, PAGE2
        ; The handler makes the page, and the instruction goes on.
        mov dword [hook], provide
        mov dword [resume], -1
        mov edi, PAGE2 - 3
        mov ecx, 10
        rep insb
        CHECK_EQ ecx, 0
        CHECK_EQ edi, PAGE2 + 7
        ; Backwards.
        mov dword [hook], 0
        mov dword [resume], 0
        std
        mov edi, PAGE3
        mov ecx, 4
        QUIET rep insb
        CHECK_EQ edi, PAGE3 - 4
        cld
        TO_RING0
        PASS
provide:
        MAP PAGE2, PAGE2 + (P | W | U)
        ret
