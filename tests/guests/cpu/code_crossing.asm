; An instruction across two pages: fetched from wherever they are, and with a page fault for the second one's first byte if that
; is not there (SDM 3A, 4.7).
%include "cpu.inc"
        START
        PAGING
        ; PAGE1 and PAGE2 are where PAGE3 and PAGE1 are: not neighbours.
        MAP PAGE1, PAGE3 | P | W
        MAP PAGE2, PAGE1 | P | W
        mov edi, PAGE1 + 0xffd
        mov esi, moves
        mov ecx, moves_bytes
        rep movsb
        mov eax, 0
        call PAGE1 + 0xffd
        CHECK_EQ eax, 0x44332211
        ; The second half elsewhere: another constant.
        mov byte [PAGE4], 0x55
        mov byte [PAGE4 + 1], 0x66
        mov byte [PAGE4 + 2], 0xc3
        MAP PAGE2, PAGE4 | P | W
        call PAGE1 + 0xffd
        CHECK_EQ eax, 0x66552211
        ; And changed in place.
        mov byte [PAGE2], 0x77
        call PAGE1 + 0xffd
        CHECK_EQ eax, 0x66772211
        ; Not there.
        MAP PAGE2, 0
        mov eax, 5
        SET got_count, 0
        SET resume, back
        mov [saved], esp
        call PAGE1 + 0xffd
        NEVER
back:   SET resume, 0
        mov esp, [saved]
        NOTED got_count, 1
        NOTED got_vector, PF
        NOTED got_ip, PAGE1 + 0xffd
        NOTED got_cr2, PAGE2
        CHECK_EQ eax, 5
        PASS
moves:  mov eax, 0x44332211
        ret
moves_bytes equ $ - moves
saved:  dd 0
