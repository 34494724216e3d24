; Null selectors at a return to an outer level: they become 0, whatever their RPL (SDM 2A, IRET and RET). QEMU leaves FS and GS as they are.
%include "cpu.inc"
%macro LOAD_NULL 0
        mov ax, 3
        mov es, ax
        mov fs, ax
        mov ax, 1
        mov gs, ax
        mov ax, 2
        mov ds, ax
%endmacro
%macro ALL_ZERO 0
        mov ax, es
        CHECK_EQ ax, 0
        mov ax, fs
        CHECK_EQ ax, 0
        mov ax, gs
        CHECK_EQ ax, 0
        mov ax, ds
        CHECK_EQ ax, 0
%endmacro
        START
        LOAD_NULL
        ; A return to the same level leaves them.
        pushfd
        push CODE
        push same
        iretd
same:   mov ax, es
        CHECK_EQ ax, 3
        mov ax, ds
        CHECK_EQ ax, 2
        push USER_DATA
        push user_stack_end
        push F_IOPL | 2
        push USER_CODE
        push by_iret
        iretd
by_iret:
        ALL_ZERO
        mov ax, USER_DATA
        mov ds, ax
        TO_RING0
        LOAD_NULL
        push USER_DATA
        push user_stack_end
        push USER_CODE
        push by_retf
        retf
by_retf:
        ALL_ZERO
        PASS
