; An option ROM that sets a video mode through the VGA BIOS, draws something, and says DONE on the debug console at 0xe9.
;
; The byte at offset 5 says which scene; whoever builds it writes that, and sets the last byte so that the sum of all is 0.

bits 16
org 0

        db 0x55, 0xaa
        db SIZE / 512
        jmp short start
scene:  db 0

start:  push cs
        pop ds
        cld
        movzx bx, byte [scene]
        shl bx, 1
        call [scenes + bx]
        mov si, done
.say:   lodsb
        out 0xe9, al
        cmp al, 10
        jne .say
        cli                             ; not halted, which would be a hang
        jmp $

done:   db "DONE", 10

scenes: dw text, planar, linear, cga4, cga2, low_planar, unchained, vesa8, vesa16, vesa32, split, text8

%macro set_mode 1
        mov ax, %1
        int 0x10
        push cs
        pop ds
%endmacro

; Register of a chip with index and data: port, index, value.
%macro reg 3
        mov dx, %1
        mov ax, (%3) << 8 | (%2)
        out dx, ax
%endmacro

; The next of a sequence of numbers that look random, in AX; the state is EBP.
random: imul ebp, ebp, 1103515245
        add ebp, 12345
        mov eax, ebp
        shr eax, 16
        ret

; All characters but those whose ninth dot is in dispute, in all colours, without a cursor.
text:   set_mode 0x0003
text_page:
        mov cx, 0x2000
        mov ah, 1
        int 0x10
        mov ax, 0xb800
        mov es, ax
        xor di, di
        xor cx, cx
.next:  mov al, cl
        cmp al, 0xb0
        jb .char
        cmp al, 0xc0
        jae .char
        and al, 0x7f
.char:  mov ah, cl
        shr ah, 3
        xor ah, ch
        and ah, 0x7f
        stosw
        inc cx
        cmp cx, 2000
        jb .next
        ret

; The same with characters of eight dots.
text8:  set_mode 0x0003
        reg 0x3c4, 1, 0x01
        jmp text_page

; Every write mode of the graphics controller, and a colour comparison.
planar: set_mode 0x0012
planar_page:
        mov ax, 0xa000
        mov es, ax
        mov ebp, 1
        xor di, di
.stripes:                               ; write mode 2: a colour in the bits of a mask
        reg 0x3ce, 5, 0x02
        call random
        mov ah, al
        mov al, 8
        mov dx, 0x3ce
        out dx, ax
        mov ax, di
        shr ax, 4
        mov bl, [es:di]
        mov [es:di], al
        inc di
        cmp di, 8000
        jb .stripes
        reg 0x3ce, 5, 0x00              ; write mode 0 with set/reset, rotation and exclusive or
        reg 0x3ce, 0, 0x05
        reg 0x3ce, 1, 0x06
        reg 0x3ce, 3, 0x1b
        reg 0x3ce, 8, 0x7e
.mixed: call random
        mov bl, [es:di - 8000]
        mov [es:di], al
        inc di
        cmp di, 16000
        jb .mixed
        reg 0x3ce, 3, 0x00
        reg 0x3ce, 1, 0x00
        reg 0x3ce, 8, 0xff
        reg 0x3ce, 5, 0x01              ; write mode 1: latches
        mov cx, 4000
        mov si, 4000
        push ds
        push es
        pop ds
        rep movsb
        pop ds
        reg 0x3ce, 5, 0x03              ; write mode 3: the set colour through a mask
.masked:
        call random
        mov bl, [es:di - 3000]
        mov [es:di], al
        inc di
        cmp di, 26000
        jb .masked
        reg 0x3ce, 5, 0x08              ; read mode 1 into planes 0 and 3
        reg 0x3ce, 2, 0x05
        reg 0x3ce, 7, 0x0d
        reg 0x3c4, 2, 0x09
.compared:
        mov al, [es:di - 20000]
        mov [es:di], al
        inc di
        cmp di, 34000
        jb .compared
        reg 0x3c4, 2, 0x0f
        reg 0x3ce, 5, 0x00
        ret

; The lower half of the screen is the start of memory, the upper half is further down.
split:  set_mode 0x0012
        call planar_page
        reg 0x3d4, 0x0c, 0x20
        reg 0x3d4, 0x0d, 0x50
        reg 0x3d4, 0x18, 0xef
        mov dx, 0x3d4
        mov al, 7
        out dx, al
        inc dx
        in al, dx
        and al, 0xef
        out dx, al
        dec dx
        mov al, 9
        out dx, al
        inc dx
        in al, dx
        and al, 0xbf
        out dx, al
        ret

; Random bytes in a window at ES, CX of them, in doublewords.
fill:   xor di, di
.next:  call random
        stosd
        sub cx, 4
        jnz .next
        ret

; 256 colours, of a palette that is not the BIOS's.
linear: set_mode 0x0013
        call palette
        mov ax, 0xa000
        mov es, ax
        xor di, di
.next:  mov ax, di
        add al, ah
        stosb
        cmp di, 32000
        jb .next
        mov ebp, 2
.random:
        call random
        stosw
        cmp di, 64000
        jb .random
        ret

palette:
        mov dx, 0x3c8
        mov al, 16
        out dx, al
        inc dx
        mov cx, 200
.next:  mov al, cl
        shr al, 2
        out dx, al
        mov al, cl
        xor al, 0x2a
        out dx, al
        mov al, cl
        out dx, al
        loop .next
        ret

cga4:   set_mode 0x0004
        jmp cga
cga2:   set_mode 0x0006
cga:    mov ax, 0xb800
        mov es, ax
        mov ebp, 3
        mov cx, 0x4000
        jmp fill

low_planar:
        set_mode 0x000d
        mov ax, 0xa000
        mov es, ax
        mov ebp, 4
        mov bx, 0x0801
.plane: mov dx, 0x3c4
        mov al, 2
        mov ah, bl
        out dx, ax
        mov cx, 8000
        call fill
        add bl, bl
        cmp bl, 0x10
        jb .plane
        ret

; 320x240 in four planes of 256 colours, scrolled by a line and a quarter.
unchained:
        set_mode 0x0013
        call palette
        reg 0x3c4, 4, 0x06
        reg 0x3d4, 0x14, 0x00
        reg 0x3d4, 0x17, 0xe3
        mov dx, 0x3d4
        mov al, 0x11
        out dx, al
        inc dx
        in al, dx
        and al, 0x7f
        out dx, al
        reg 0x3d4, 0x06, 0x0d
        reg 0x3d4, 0x07, 0x3e
        reg 0x3d4, 0x10, 0xea
        reg 0x3d4, 0x11, 0xac
        reg 0x3d4, 0x12, 0xdf
        reg 0x3d4, 0x15, 0xe7
        reg 0x3d4, 0x16, 0x06
        reg 0x3d4, 0x0d, 100
        reg 0x3c4, 2, 0x0f
        mov ax, 0xa000
        mov es, ax
        xor eax, eax
        xor di, di
        mov cx, 0x4000
        rep stosd
        mov ebp, 5
        mov bl, 1
.plane: mov dx, 0x3c4
        mov al, 2
        mov ah, bl
        out dx, ax
        mov cx, 16000
        call fill
        add bl, bl
        cmp bl, 0x10
        jb .plane
        ret

vesa8:  mov bx, 0x101
        call vesa
        jmp palette
vesa16: mov bx, 0x111
        jmp vesa
vesa32: mov bx, 0x112

; Four banks of a mode of the VESA BIOS.
vesa:   mov ax, 0x4f02
        int 0x10
        push cs
        pop ds
        mov ebp, 6
        xor si, si
.bank:  mov ax, 0x4f05
        xor bx, bx
        mov dx, si
        int 0x10
        mov ax, 0xa000
        mov es, ax
        xor cx, cx
        call fill
        inc si
        cmp si, 4
        jb .bank
        ret

        times (511 - ($ - $$) % 512) db 0
        db 0
SIZE equ $ - $$
