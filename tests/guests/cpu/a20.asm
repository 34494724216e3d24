; The A20 gate by port 0x92: with it closed addresses with bit 20 are those without, for data, code and page tables.
%include "cpu.inc"
        START
        mov dword [0x5000], 0x11111111
        mov dword [0x105000], 0x22222222
        in al, 0x92
        or al, 2
        and al, ~1 & 0xff
        out 0x92, al
        CHECK_EQ dword [0x105000], 0x22222222
        and al, ~2 & 0xff
        out 0x92, al
        CHECK_EQ dword [0x105000], 0x11111111
        mov dword [0x105000], 0x33333333
        CHECK_EQ dword [0x5000], 0x33333333
        mov byte [0x5010], 0xc3         ; RET
        mov eax, 0x105010
        call eax
        or al, 2
        in al, 0x92
        or al, 2
        out 0x92, al
        CHECK_EQ dword [0x105000], 0x22222222
        CHECK_EQ dword [0x5000], 0x33333333
        PASS
