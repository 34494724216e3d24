; Breakpoints on I/O ports with CR4.DE: a trap behind IN and OUT (SDM 3A, 17.2.4, 17.2.2).
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 8                       ; DE
        mov cr4, eax
        SET hook, nothing
        mov eax, 0x80
        mov dr1, eax
        mov eax, 8 | 2 << 20            ; DR1: I/O, 1 byte
        mov dr7, eax
        SET got_count, 0
        out 0x80, al
.after: NOTED got_count, 1
        NOTED got_ip, .after
        NOTED got_vector, DEBUG
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 2
        in al, 0x80
.in:    NOTED got_count, 2
        NOTED got_ip, .in
        in al, 0x61
        NOTED got_count, 2
        mov dx, 0x80
        mov esi, scratch
        outsb
        NOTED got_count, 3
        PASS
nothing: ret
