; Breakpoints on data: traps behind writes, or reads and writes, of 1, 2 and 4 bytes (SDM 3A, 17.2.4, 17.3.1.2).
%include "cpu.inc"
        START
        SET hook, nothing
        mov eax, scratch
        mov dr0, eax
%macro WATCH 1                          ; R/W and LEN of DR0
        xor eax, eax
        mov dr6, eax
        mov eax, 2 | (%1) << 16
        mov dr7, eax
        SET got_count, 0
%endmacro
        WATCH 1 | 3 << 2                ; 4 bytes, writes
        mov eax, [scratch]
        NOTED got_count, 0
        mov dword [scratch], 5
.after: NOTED got_count, 1
        NOTED got_vector, DEBUG
        NOTED got_ip, .after
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 1
        ; One byte of the four, and a store that only reaches in.
        mov byte [scratch + 3], 1
        NOTED got_count, 2
        mov word [scratch + 3], 1
        NOTED got_count, 3
        mov byte [scratch + 4], 1
        NOTED got_count, 3
        mov dword [scratch - 3], 1
        NOTED got_count, 4
        mov dword [scratch - 4], 1
        NOTED got_count, 4
        inc dword [scratch]
        NOTED got_count, 5
        push dword 0
        pop dword [scratch]
        NOTED got_count, 6
        WATCH 1                         ; 1 byte
        mov byte [scratch + 1], 1
        NOTED got_count, 0
        mov byte [scratch], 1
        NOTED got_count, 1
        WATCH 1 | 1 << 2                ; 2 bytes
        mov byte [scratch + 1], 1
        NOTED got_count, 1
        mov byte [scratch + 2], 1
        NOTED got_count, 1
        ; String stores: behind the iteration that hit.
        WATCH 1 | 3 << 2
        cld
        mov edi, scratch - 4
        mov ecx, 3
        xor eax, eax
        rep stosd
        NOTED got_count, 1
        ; Reads and writes.
        WATCH 3 | 3 << 2
        mov al, [scratch + 2]
        NOTED got_count, 1
        mov byte [scratch], 1
        NOTED got_count, 2
        cmp dword [scratch - 2], 0
        NOTED got_count, 3
        cmp dword [scratch + 4], 0
        NOTED got_count, 3
        PASS
nothing: ret
