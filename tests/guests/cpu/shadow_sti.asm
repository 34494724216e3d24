; STI holds interrupts off for one instruction if IF was clear, and not if it was set (SDM 2B, STI).
%include "cpu.inc"
        START
        ; An interrupt is waiting: the timer's, in mode 0.
        mov al, 0x30
        out 0x43, al
        mov al, 10
        out 0x40, al
        xor al, al
        out 0x40, al
        mov al, 0x0a
        out 0x20, al
.wait:  in al, 0x20
        test al, 1
        jz .wait
        mov al, 0xfe
        out 0x21, al
        SET hook, note
        SET got_count, 0
        xor ebx, ebx
        sti
        inc ebx                         ; in the shadow
after1: inc ebx
        NOTED got_count, 1
        NOTED got_vector, 0x20
        NOTED got_ip, after1
        CHECK_EQ dword [ebx_seen], 1
        ; STI; CLI lets nothing in.
        call again
        SET got_count, 0
        sti
        cli
        nop
        NOTED got_count, 0
        ; A second STI makes no second shadow.
        sti
        sti
after2: nop
        NOTED got_count, 1
        NOTED got_ip, after2
        cli
        ; POPF makes none.
        call again
        SET got_count, 0
        pushfd
        or dword [esp], F_IF
        popfd
after3: cli
        NOTED got_count, 1
        NOTED got_ip, after3
        ; STI; HLT is woken by what is waiting.
        call again
        SET got_count, 0
        sti
        hlt
after4: NOTED got_count, 1
        NOTED got_ip, after4
        PASS
note:   mov [ebx_seen], ebx
        mov al, 0x20
        out 0x20, al
        ret
again:  cli
        mov al, 0x30
        out 0x43, al
        mov al, 10
        out 0x40, al
        xor al, al
        out 0x40, al
.wait:  in al, 0x20
        test al, 1
        jz .wait
        ret
ebx_seen: dd 0
