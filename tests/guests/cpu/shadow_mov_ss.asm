; MOV SS and POP SS hold off interrupts and single-step traps for one instruction (SDM 3A, 6.8.3).
%include "cpu.inc"
        START
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
        ; The interrupt is let in by POPF; the load of SS before it makes no difference, the one behind it does.
        SET hook, note
        SET got_count, 0
        mov ax, DATA
        mov [saved], esp
        sti
        mov ss, ax                      ; in the shadow of STI: the second shadow counts for the next instruction
        mov esp, [saved]
after:  nop
        cli
        NOTED got_count, 1
        ; Single steps: no trap between MOV SS and what follows.
        SET hook, steps
        SET got_count, 0
        pushfd
        or dword [esp], F_TF
        popfd
        nop                             ; 1: trap behind it
        mov ss, ax                      ; none
        nop                             ; 2
        pushfd                          ; 3
        and dword [esp], ~F_TF          ; 4
        popfd                           ; 5
        nop
        NOTED got_count, 5
        PASS
note:   mov al, 0x20
        out 0x20, al
        ret
steps:  ret
saved:  dd 0
