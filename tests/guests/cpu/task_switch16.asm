; A task with a 16-bit TSS: words are saved and loaded (SDM 3A, 7.6).
%include "cpu.inc"
        START
        DESC SLOT1, task, 43, 0x81, 0
        mov word [task + 14], REAL(entry)       ; IP
        mov word [task + 16], 2                 ; FLAGS
        mov word [task + 18], 0xa1a1            ; AX
        mov word [task + 26], REAL(ist1_end)    ; SP
        mov word [task + 34], DATA16            ; ES
        mov word [task + 36], CODE16            ; CS
        mov word [task + 38], DATA16            ; SS
        mov word [task + 40], DATA16            ; DS
        mov word [task + 42], 0                 ; LDT
        mov ebx, 0x12345678
        call SLOT1:0
        CHECK_EQ ebx, 0x12345678
        mov ax, [ax_seen]
        CHECK_EQ ax, 0xa1a1
        mov ax, [task]
        CHECK_EQ ax, TSS_MAIN
        test word [flags_seen], F_NT
        CHECK nz
        mov ax, [task + 14]
        CHECK_EQ ax, REAL(behind)
        mov ax, [task + 20]                     ; CX
        CHECK_EQ ax, 0x5555
        PASS
bits 16
entry:  mov [REAL(ax_seen)], ax
        pushf
        pop word [REAL(flags_seen)]
        mov cx, 0x5555
        iret
behind: NEVER
bits 32
ax_seen: dw 0
flags_seen: dw 0
        align 16
task:   times 44 db 0
