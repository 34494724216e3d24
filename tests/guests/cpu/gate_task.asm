; A task gate: the handler is a task of its own, and IRET goes back to the task that was interrupted (SDM 3A, 6.12.2).
%include "cpu.inc"
        START
        DESC SLOT1, task, 103, 0x89, 0
        GATE 0x41, SLOT1, 0, 0x85
        GATE GP, SLOT1, 0, 0x85
        mov dword [task + 0x20], handler
        mov dword [task + 0x24], 2
        mov dword [task + 0x38], ist1_end
        mov dword [task + 0x48], DATA
        mov dword [task + 0x4c], CODE
        mov dword [task + 0x50], DATA
        mov dword [task + 0x54], DATA
        mov ebx, 0x11223344
        mov esi, esp
        stc
        int 0x41
        CHECK c
        CHECK_EQ ebx, 0x11223344
        CHECK_EQ esp, esi
        CHECK_EQ dword [runs], 1
        ; Nested: NT, the link, both tasks busy; the old one's registers are saved.
        test dword [flags_seen], F_NT
        CHECK nz
        mov ax, [task]
        CHECK_EQ ax, TSS_MAIN
        mov al, [busy_seen]
        CHECK_EQ al, 0x8b
        mov al, [busy_seen + 1]
        CHECK_EQ al, 0x8b
        mov eax, [tss + 0x34]
        CHECK_EQ eax, 0x11223344
        ; Afterwards only this one is busy, and CR0.TS is set.
        mov al, [gdt + SLOT1 + 5]
        CHECK_EQ al, 0x89
        mov al, [gdt + TSS_MAIN + 5]
        CHECK_EQ al, 0x8b
        str ax
        CHECK_EQ ax, TSS_MAIN
        mov eax, cr0
        test eax, 8
        CHECK nz
        clts
        pushfd
        pop eax
        test eax, F_NT
        CHECK z
        ; An exception with an error code: it is on the new task's stack. The task went on behind its IRET.
        mov dword [task + 0x38], ist1_end
        mov dword [task + 0x20], with_error
        mov ax, 0x7fe8
.at:    mov fs, ax
.after: CHECK_EQ dword [runs], 2
        CHECK_EQ dword [error_seen], 0x7fe8
        mov eax, [at_seen]
        CHECK_EQ eax, .at
        PASS

handler:
        inc dword [runs]
        pushfd
        pop dword [flags_seen]
        mov al, [gdt + SLOT1 + 5]
        mov [busy_seen], al
        mov al, [gdt + TSS_MAIN + 5]
        mov [busy_seen + 1], al
        iret
        NEVER

with_error:
        inc dword [runs]
        pop dword [error_seen]
        mov eax, [tss + 0x20]
        mov [at_seen], eax
        add eax, 2                      ; over MOV FS
        mov [tss + 0x20], eax
        iret

runs:   dd 0
flags_seen: dd 0
busy_seen: dw 0
error_seen: dd 0
at_seen: dd 0
        align 16
task:   times 104 db 0
