; The stack that the TSS names for level 0 cannot be used: #TS, #SS with its selector (SDM 3A, table 6-6, 6.15).
; The fault is raised by INT at level 3; its handler must not need the same stack, so it is a task.
%include "cpu.inc"
        START
        DESC SLOT1, task, 103, 0x89, 0
        GATE TS, SLOT1, 0, 0x85
        GATE SS_FAULT, SLOT1, 0, 0x85
        GATE GP, SLOT1, 0, 0x85
        GATE NP, SLOT1, 0, 0x85
        GATE 0x41, CODE, entry_65, 0xee
        ; Not present data, read-only data, data of level 3.
        DESC SLOT2, 0, 0xfffff, 0x13, 0xc
        DESC SLOT3, 0, 0xfffff, 0x91, 0xc
        DESC SLOT4, 0, 0xfffff, 0xf3, 0xc
%macro BAD_STACK 2                      ; SS0, error code
        mov dword [tss + 8], %1
        mov dword [task + 0x20], note
        mov dword [task + 0x24], 2
        mov dword [task + 0x38], ist1_end
        mov dword [task + 0x48], DATA
        mov dword [task + 0x4c], CODE
        mov dword [task + 0x50], DATA
        mov dword [task + 0x54], DATA
        mov dword [error_seen], -1
        mov dword [go_on], %%back
        TO_RING3
        int 0x41
        NEVER
%%back: CHECK_EQ dword [error_seen], %2
%endmacro
        BAD_STACK 0, 0
        BAD_STACK 0x7fe8, 0x7fe8
        BAD_STACK USER_DATA, USER_DATA & ~3     ; RPL 3
        BAD_STACK SLOT2, SLOT2                  ; #SS
        BAD_STACK SLOT3, SLOT3
        BAD_STACK SLOT4, SLOT4
        BAD_STACK CODE, CODE
        ; The TSS ends before SS0: #TS for the TSS itself.
        mov byte [gdt + TSS_MAIN + 5], 0x89
        mov word [gdt + TSS_MAIN], 103
        mov ax, TSS_MAIN
        ltr ax
        PASS

; The task of the fault: notes it, then becomes the ordinary kernel again.
note:   pop dword [error_seen]
        clts
        pushfd
        and dword [esp], ~F_NT
        popfd
        mov ax, DATA
        mov ds, ax
        mov es, ax
        mov esp, kernel_stack_end
        mov byte [gdt + SLOT1 + 5], 0x89
        mov byte [gdt + TSS_MAIN + 5], 0x89
        mov ax, TSS_MAIN
        ltr ax
        mov dword [tss + 8], DATA
        jmp [go_on]
error_seen: dd 0
go_on:  dd 0
        align 16
task:   times 104 db 0
