; Virtual-8086 mode with IOPL 3: interrupts and exceptions leave it with the data segments on the stack and null (SDM 3A, 20.3).
%include "cpu.inc"
        START
        GATE 0x41, CODE, entry_65, 0xee
        TO_V86 F_IOPL
        mov bx, 0x1234
        mov ax, cs
        CHECK_EQ ax, SEG16
        ; CLI and STI, PUSHF and POPF work.
        QUIET sti
        pushf
        pop ax
        test ax, F_IF
        CHECK nz
        QUIET cli
        pushf
        pop ax
        and ax, F_IOPL
        CHECK_EQ ax, F_IOPL
        ; INT n goes through the gate.
        mov word [REAL(hook)], 0
        mov dword [REAL(hook)], look
        SET got_count, 0
        int 0x41
after:  SET hook, 0
        NOTED got_count, 1
        NOTED got_vector, 0x41
        NOTED got_ip, REAL(after)
        NOTED got_cs, SEG16
        NOTED got_sp, kernel_stack_end - 36
        test dword [REAL(got_flags)], F_VM
        CHECK nz
        NOTED segments_seen, 0
        NOTED segments_seen + 4, 0
        CHECK_EQ bx, 0x1234
        mov ax, ds
        CHECK_EQ ax, SEG16
        ; ES DS FS GS above SS:ESP.
        NOTED kernel_stack_end - 16, SEG16
        NOTED kernel_stack_end - 12, SEG16
        NOTED kernel_stack_end - 8, SEG16
        NOTED kernel_stack_end - 4, SEG16
        FAULTS UD, 0, ud2
        FAULTS GP, 0, hlt
        FAULTS GP, 0, mov eax, cr0
        FAULTS GP, 0, lgdt [REAL(gdtr)]
        FAULTS UD, 0, lldt ax
        FAULTS UD, 0, str ax
        FAULTS UD, 0, arpl ax, bx
        ; Segments are selector * 16 with 64 KiB.
        mov ax, SEG16 + 1
        mov es, ax
        mov al, [es:REAL(gdtr) - 16]
        CHECK_EQ al, [REAL(gdtr)]
        FROM_V86
        PASS
look:   mov ax, fs
        mov [segments_seen], ax
        mov ax, gs
        mov [segments_seen + 2], ax
        mov ax, [ebp]                   ; ES and DS as the handler saved them: they were null
        mov [segments_seen + 4], ax
        mov ax, [ebp + 4]
        mov [segments_seen + 6], ax
        ret
segments_seen: dq -1
