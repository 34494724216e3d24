; Real mode: the vector table, FLAGS, faults and traps, IDTR with another base and limit (SDM 3A, 20.1.4).
%include "cpu.inc"
        START
        TO_REAL
        xor cx, cx
        FAULTS DE, 0, div cx
        FAULTS UD, 0, ud2
        TRAPS BREAK, 0, int3
        mov al, 0x7f
        add al, 1
        TRAPS OF, 0, into
        sti
        SET resume, -1
        int 0x10
        SET resume, 0
        NOTED got_vector, 0x10
        test word [REAL(handler_flags)], F_IF | F_TF
        CHECK z
        test word [REAL(got_flags)], F_IF
        CHECK nz
        cli
        ; Three words.
        mov bx, sp
        SET hook, 0
        SET resume, -1
        int 0x11
        SET resume, 0
        mov ax, [REAL(got_sp)]
        add ax, 6
        CHECK_EQ ax, bx
        CHECK_EQ sp, bx
        ; Privileged registers are open; BOUND; no error code for #GP by LIDT of a copy elsewhere.
        QUIET mov eax, cr0
        mov word [REAL(scratch)], 1
        mov word [REAL(scratch) + 2], 5
        mov ax, 6
        FAULTS BR, 0, bound ax, [REAL(scratch)]
        ; The table may be anywhere.
        mov si, 0
        mov di, REAL(page_table)
        push ds
        xor ax, ax
        mov ds, ax
        mov cx, 256
        cld
        rep movsw
        pop ds
        lidt [REAL(other)]
        mov word [REAL(page_table) + 0x12 * 4], REAL(real_1)
        SET resume, -1
        int 0x12
        SET resume, 0
        NOTED got_vector, 1
        ; Some things are undefined in real mode.
        FAULTS UD, 0, lldt ax
        FAULTS UD, 0, ltr ax
        FAULTS UD, 0, {verr ax}
        FAULTS UD, 0, arpl ax, bx
        PASS
other:  dw 0x7f
        dd page_table
